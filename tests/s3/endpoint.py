"""An S3 that checks signatures and permissions, for tests/s3/main.rs and tests/service/test_s3_code.py: moto's server
with a bucket `code` that one user may read and another one write, and a bucket that neither may.

Prints one line of JSON when it is ready, and ends with its standard input.
"""

import json
import sys
import urllib.request

import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"


def client(service):
    return boto3.client(
        service, endpoint_url=url, region_name="us-east-1", aws_access_key_id="setup", aws_secret_access_key="setup"
    )


s3 = client("s3")
s3.create_bucket(Bucket="code")
s3.create_bucket(Bucket="forbidden")
s3.put_object(Bucket="forbidden", Key="f.zip", Body=b"not yours")
s3.put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})
key = "a folder/ümlaut+(1)&x=y.zip"
first = s3.put_object(Bucket="code", Key=key, Body=b"first")["VersionId"]
s3.put_object(Bucket="code", Key=key, Body=b"second")
s3.put_object(Bucket="code", Key="large", Body=bytes(range(256)) * 16384)

iam = client("iam")


def user(name, action):
    """A user who may do this with what is in `code`; its access key."""
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": action, "Resource": "arn:aws:s3:::code/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    return iam.create_access_key(UserName=name)["AccessKey"]


access, owner = user("deployer", "s3:GetObject*"), user("owner", "s3:*")

# From here on moto checks who calls, and every signature.
from_now_on = urllib.request.Request(
    f"{url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}, method="POST"
)
urllib.request.urlopen(from_now_on).close()

ready = {
    "url": url,
    "access_key_id": access["AccessKeyId"],
    "secret_access_key": access["SecretAccessKey"],
    "owner_access_key_id": owner["AccessKeyId"],
    "owner_secret_access_key": owner["SecretAccessKey"],
    "key": key,
    "first_version": first,
}
print(json.dumps(ready), flush=True)
sys.stdin.read()
server.stop()
