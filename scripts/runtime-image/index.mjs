// Line 3 of AWS's runtime client is a module to call; line 4 is a script that starts by itself.
import { run } from './aws-lambda-ric/dist/index.mjs';

await run(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
