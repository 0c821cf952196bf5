"""Lets the vendors' own clients loose on a server, and prints what they got as JSON: {"value": ...} or {"error": class}.

vendor.py aws-make URL NAME VALUE...     makes a secret with these versions, the last one current; prints its ARN and ids
vendor.py aws-read URL NAME [STAGE]
vendor.py vault-read URL TOKEN VERSION MOUNT PATH
vendor.py azure-read URL CERTIFICATE TENANT CLIENT SECRET NAME VERSION
vendor.py google-read URL TOKEN VERSION
vendor.py aws-identity URL machine|container|web [TOKEN FILE]
vendor.py azure-machine URL SCOPE, azure-platform ENDPOINT HEADER SCOPE
vendor.py google-file FILE, google-machine HOST
"""

import json
import sys


def aws(url):
    import boto3
    return boto3.client("secretsmanager", endpoint_url=url, region_name="eu-west-1",
                        aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="example")


def aws_make(url, name, *values):
    client = aws(url)
    made = client.create_secret(Name=name, SecretString=values[0])
    ids = [made["VersionId"]]
    for value in values[1:]:
        ids.append(client.put_secret_value(SecretId=name, SecretString=value)["VersionId"])
    return {"arn": made["ARN"], "versions": ids}


def aws_binary(url, name, value):
    return {"arn": aws(url).create_secret(Name=name, SecretBinary=value.encode())["ARN"]}


def aws_delete(url, name):
    aws(url).delete_secret(SecretId=name, RecoveryWindowInDays=7)
    return {}


def aws_read(url, name, stage="AWSCURRENT"):
    return {"value": aws(url).get_secret_value(SecretId=name, VersionStage=stage)["SecretString"]}


def vault_read(url, token, version, mount, path):
    import hvac
    client = hvac.Client(url=url, token=token)
    if not client.is_authenticated():
        return {"error": "NotAuthenticated"}
    if version == "1":
        return {"value": client.secrets.kv.v1.read_secret(path, mount_point=mount)["data"]}
    answer = client.secrets.kv.v2.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
    return {"value": answer["data"]["data"]}


def vault_app_role(url, role, secret):
    import hvac
    client = hvac.Client(url=url)
    client.auth.approle.login(role_id=role, secret_id=secret)
    return {"value": client.lookup_token()["data"]["policies"]}


def vault_kubernetes(url, role, jwt):
    import hvac
    client = hvac.Client(url=url)
    client.auth.kubernetes.login(role=role, jwt=jwt)
    return {"value": client.lookup_token()["data"]["policies"]}


def azure_read(url, certificate, tenant, client, secret, name, version):
    from azure.identity import ClientSecretCredential
    from azure.keyvault.secrets import SecretClient
    credential = ClientSecretCredential(tenant, client, secret, authority=url, disable_instance_discovery=True,
                                        connection_verify=certificate)
    vault = SecretClient(url, credential, verify_challenge_resource=False, connection_verify=certificate, retry_total=0)
    return {"value": vault.get_secret(name, version or None).value}


def google_read(url, token, version):
    from google.cloud import secretmanager
    from google.oauth2.credentials import Credentials
    client = secretmanager.SecretManagerServiceClient(credentials=Credentials(token), transport="rest",
                                                      client_options={"api_endpoint": url})
    return {"value": client.access_secret_version(name=version).payload.data.decode()}


def aws_identity(url, kind, argument=""):
    """Reads the secret `db` with nothing but what the platform gives, found by botocore's own chain."""
    import os
    import boto3
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(AWS_ENDPOINT_URL=url, AWS_EC2_METADATA_SERVICE_ENDPOINT=url, AWS_CONFIG_FILE=os.devnull,
                      AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    if kind == "container":
        os.environ.update(AWS_CONTAINER_CREDENTIALS_FULL_URI=url + "/v2/credentials/task",
                          AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=argument)
    if kind == "web":
        os.environ.update(AWS_ROLE_ARN="arn:aws:iam::123456789012:role/lake", AWS_WEB_IDENTITY_TOKEN_FILE=argument)
    client = boto3.client("secretsmanager", region_name="eu-west-1")
    return {"value": client.get_secret_value(SecretId="db")["SecretString"]}


def azure_machine(url, scope):
    import os
    from azure.identity import ManagedIdentityCredential
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = url
    return {"value": ManagedIdentityCredential().get_token(scope).token}


def azure_platform(endpoint, header, scope):
    import os
    from azure.identity import ManagedIdentityCredential
    os.environ.update(IDENTITY_ENDPOINT=endpoint, IDENTITY_HEADER=header)
    return {"value": ManagedIdentityCredential().get_token(scope).token}


def google_file(file):
    from google.auth import identity_pool
    from google.auth.transport.requests import Request
    from google.oauth2 import service_account
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    with open(file) as opened:
        kind = json.load(opened)["type"]
    if kind == "service_account":
        credentials = service_account.Credentials.from_service_account_file(file, scopes=scopes)
    else:
        credentials = identity_pool.Credentials.from_file(file, scopes=scopes)
    credentials.refresh(Request())
    return {"value": credentials.token}


def google_machine(host):
    import os
    os.environ["GCE_METADATA_HOST"] = os.environ["GCE_METADATA_IP"] = host
    from google.auth import compute_engine
    from google.auth.transport.requests import Request
    credentials = compute_engine.Credentials()
    credentials.refresh(Request())
    return {"value": credentials.token}


def main():
    act = globals()[sys.argv[1].replace("-", "_")]
    try:
        print(json.dumps(act(*sys.argv[2:])))
    except Exception as error:  # what a client raises is its judgement
        print(json.dumps({"error": type(error).__name__, "said": str(error)}))


main()
