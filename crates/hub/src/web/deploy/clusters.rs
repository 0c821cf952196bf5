//! The blocks for platforms that are told of an agent in one document: a task of Fargate, a stateful set of Kubernetes.

use super::Place;
use super::sign_in::{SignIn, TOKEN_FILE};

/// Writes the key, which Fargate has as a variable only, into a file that the agent alone can read.
const KEY_WRITER: &str = r#"{
    "name": "key",
    "image": "public.ecr.aws/docker/library/busybox:stable",
    "essential": false,
    "command": ["sh", "-c", "umask 077 && printenv KEY > /key/agent-key.pem && chown -R 65532 /key"],
    "mountPoints": [{"sourceVolume": "key", "containerPath": "/key"}],
    "secrets": [{"name": "KEY", "valueFrom": "SECRET_ARN"}]
  }, "#;

impl Place<'_> {
    pub(super) fn fargate(&self) -> String {
        let name = &self.name;
        let line = |key: &str, value: &str| format!("      {{\"name\": \"{key}\", \"value\": \"{value}\"}},\n");
        let mut variables = self.each(line);
        let (mut volume, mut writer, mut mount, mut agent) = ("", "", "", "");
        let mut keep = String::new();
        let store =
            |file: &str| format!("aws secretsmanager create-secret --name {name} --secret-string file://{file}\n\n");
        match self.sign_in {
            SignIn::Secret => {
                keep = store("agent-secret");
                agent = ",\n    \"secrets\": [{\"name\": \"OAUTH_CLIENT_SECRET\", \"valueFrom\": \"SECRET_ARN\"}]";
            }
            SignIn::Key => {
                keep = store("agent-key.pem");
                variables += &line("OAUTH_CLIENT_KEY_FILE", "/key/agent-key.pem");
                volume = ", {\"name\": \"key\"}";
                mount = ", {\"sourceVolume\": \"key\", \"containerPath\": \"/key\", \"readOnly\": true}";
                agent = ",\n    \"dependsOn\": [{\"containerName\": \"key\", \"condition\": \"SUCCESS\"}]";
                writer = KEY_WRITER;
            }
            SignIn::Token { .. } => variables += &line(TOKEN_FILE, "TOKEN_FILE"),
            SignIn::Identity { .. } => {}
        }
        let variables = variables.trim_end_matches(",\n");
        format!(
            r#"{keep}cat > task.json <<'EOF'
{{
  "family": "{name}",
  "requiresCompatibilities": ["FARGATE"],
  "networkMode": "awsvpc",
  "cpu": "1024", "memory": "2048",
  "executionRoleArn": "EXECUTION_ROLE_ARN",
  "taskRoleArn": "TASK_ROLE_ARN",
  "volumes": [{{"name": "state"}}{volume}],
  "containerDefinitions": [{writer}{{
    "name": "agent",
    "image": "{image}",
    "command": ["agent"],
    "user": "65532",
    "readonlyRootFilesystem": true,
    "stopTimeout": 60,
    "mountPoints": [{{"sourceVolume": "state", "containerPath": "/state"}}{mount}],
    "environment": [
{variables}
    ]{agent}
  }}]
}}
EOF
aws ecs register-task-definition --cli-input-json file://task.json
aws ecs create-service --cluster CLUSTER --service-name {name} --task-definition {name} \
  --launch-type FARGATE --desired-count 1 \
  --deployment-configuration minimumHealthyPercent=0,maximumPercent=100 \
  --network-configuration 'awsvpcConfiguration={{subnets=[SUBNET_ID],securityGroups=[SECURITY_GROUP_ID]}}'"#,
            image = self.image
        )
    }

    pub(super) fn kubernetes(&self) -> String {
        let name = &self.name;
        let line = |key: &str, value: &str| format!("        - {{name: {key}, value: \"{value}\"}}\n");
        let mut variables = self.each(line);
        let (mut keep, mut space, mut account) = (String::new(), String::new(), "SERVICE_ACCOUNT");
        let (mut mount, mut volume) = (String::new(), String::new());
        let mounted = |folder: &str| format!(", {{name: sign-in, mountPath: {folder}, readOnly: true}}");
        match self.sign_in {
            SignIn::Secret => {
                keep = format!("kubectl create secret generic {name} --from-file=OAUTH_CLIENT_SECRET=agent-secret\n\n");
                variables += &format!("        envFrom:\n        - secretRef: {{name: {name}}}\n");
            }
            SignIn::Key => {
                keep = format!("kubectl create secret generic {name} --from-file=agent-key.pem\n\n");
                variables += &line("OAUTH_CLIENT_KEY_FILE", "/run/agent-key/agent-key.pem");
                mount = mounted("/run/agent-key");
                volume = format!("{VOLUME}secret: {{secretName: {name}, defaultMode: 0440}}\n");
            }
            SignIn::Token { audience, account: of } => {
                if let Some((namespace, name)) = of {
                    (space, account) = (format!("-n {namespace} "), name.as_str());
                }
                variables += &line(TOKEN_FILE, "/var/run/secrets/millrace/token");
                mount = mounted("/var/run/secrets/millrace");
                volume = format!(
                    "{VOLUME}projected: {{sources: [{{serviceAccountToken: {{path: token, audience: \"{audience}\", \
                     expirationSeconds: 3600}}}}]}}\n"
                );
            }
            SignIn::Identity { .. } => {}
        }
        format!(
            r#"{keep}kubectl {space}apply -f - <<'EOF'
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  replicas: 1
  serviceName: {name}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      serviceAccountName: {account}
      terminationGracePeriodSeconds: 60
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532}}
      containers:
      - name: agent
        image: {image}
        args: [agent]
        securityContext: {{readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        env:
{variables}        resources: {{requests: {{cpu: "1", memory: 2Gi}}, limits: {{memory: 2Gi}}}}
        volumeMounts: [{{name: state, mountPath: /state}}{mount}]
{volume}  volumeClaimTemplates:
  - metadata: {{name: state}}
    spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 10Gi}}}}}}
EOF"#,
            image = self.image
        )
    }
}

/// What the process signs in with, beside its containers.
const VOLUME: &str = "      volumes:\n      - name: sign-in\n        ";
