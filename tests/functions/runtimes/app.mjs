// What a Node.js function sees of its runtime.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

export const handler = async (event, context) => ({
  event,
  client: context.clientContext.custom,
  user: process.getuid(),
  handler: process.env._HANDLER,
  root: process.env.LAMBDA_TASK_ROOT,
  layer: require('in_layer').NAME,
  version: process.version,
});

export const failing = async () => inner();

function inner() {
  throw new TypeError('no such thing');
}
