//! How an agent is started on each platform: one block of commands with everything filled in that the hub knows. What only
//! the reader knows stands in capitals. The secret itself is never part of it.

use crate::db::agents::Agent;
use crate::settings::Settings;

/// Names and values of the agent's environment; the secret comes from the platform's secret store.
pub(crate) fn environment(settings: &Settings, agent: &Agent) -> Vec<(&'static str, String)> {
    vec![
        ("HUB_URL", settings.public_url.clone()),
        ("ACCOUNT_ID", agent.account_id.clone()),
        ("AGENT_ID", agent.id.clone()),
        ("OAUTH_CLIENT_ID", agent.client_id.clone()),
        ("STATE_DIR", "/state".into()),
    ]
}

/// Every form that the way to start an agent can be had in: its word, its name, and where it belongs.
pub(crate) const FORMATS: [(&str, &str); 8] = [
    ("fargate", "AWS Fargate"),
    ("eks", "Amazon EKS"),
    ("aci", "Azure Container Instances"),
    ("aks", "Azure Kubernetes Service"),
    ("gke", "Google Kubernetes Engine"),
    ("gce", "Google Compute Engine"),
    ("docker", "Docker"),
    ("env", "Environment file"),
];

/// The block in that form; `None` where there is no such form.
pub(crate) fn text(settings: &Settings, agent: &Agent, format: &str) -> Option<String> {
    let place = Place { image: &settings.agent_image, agent, settings, name: resource_name(agent) };
    Some(match format {
        "fargate" => place.fargate(),
        "eks" | "aks" | "gke" => place.kubernetes(),
        "aci" => place.aci(),
        "gce" => place.gce(),
        "docker" => place.docker(),
        "env" => place.each(|name, value| format!("{name}={value}\n")) + "OAUTH_CLIENT_SECRET_FILE=agent-secret\n",
        _ => return None,
    })
}

/// Resources of clouds take lower-case letters, digits and dashes.
fn resource_name(agent: &Agent) -> String {
    let dashed: String =
        agent.name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let parts: Vec<&str> = dashed.split('-').filter(|part| !part.is_empty()).collect();
    format!("millrace-{}", if parts.is_empty() { "agent".into() } else { parts.join("-") })
}

struct Place<'a> {
    image: &'a str,
    agent: &'a Agent,
    settings: &'a Settings,
    name: String,
}

impl Place<'_> {
    fn each(&self, line: impl Fn(&str, &str) -> String) -> String {
        environment(self.settings, self.agent).iter().map(|(name, value)| line(name, value)).collect()
    }

    fn docker(&self) -> String {
        let variables = self.each(|name, value| format!("  -e {name}={value} \\\n"));
        format!(
            "docker run -d --name {} --restart unless-stopped --read-only \\\n{variables}  \
             -e OAUTH_CLIENT_SECRET_FILE=/run/agent-secret \\\n  -v \"$PWD/agent-secret:/run/agent-secret:ro\" \\\n  \
             -v {}-state:/state \\\n  {} agent",
            self.name, self.name, self.image
        )
    }

    fn fargate(&self) -> String {
        let name = &self.name;
        let variables = self.each(|key, value| format!("      {{\"name\": \"{key}\", \"value\": \"{value}\"}},\n"));
        let variables = variables.trim_end_matches(",\n");
        format!(
            r#"aws secretsmanager create-secret --name {name} --secret-string file://agent-secret

cat > task.json <<'EOF'
{{
  "family": "{name}",
  "requiresCompatibilities": ["FARGATE"],
  "networkMode": "awsvpc",
  "cpu": "1024", "memory": "2048",
  "executionRoleArn": "EXECUTION_ROLE_ARN",
  "taskRoleArn": "TASK_ROLE_ARN",
  "volumes": [{{"name": "state"}}],
  "containerDefinitions": [{{
    "name": "agent",
    "image": "{image}",
    "command": ["agent"],
    "user": "65532",
    "readonlyRootFilesystem": true,
    "stopTimeout": 60,
    "mountPoints": [{{"sourceVolume": "state", "containerPath": "/state"}}],
    "environment": [
{variables}
    ],
    "secrets": [{{"name": "OAUTH_CLIENT_SECRET", "valueFrom": "SECRET_ARN"}}]
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

    fn kubernetes(&self) -> String {
        let name = &self.name;
        let variables = self.each(|key, value| format!("        - {{name: {key}, value: \"{value}\"}}\n"));
        format!(
            r#"kubectl create secret generic {name} --from-file=OAUTH_CLIENT_SECRET=agent-secret

kubectl apply -f - <<'EOF'
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
      serviceAccountName: SERVICE_ACCOUNT
      terminationGracePeriodSeconds: 60
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532}}
      containers:
      - name: agent
        image: {image}
        args: [agent]
        securityContext: {{readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        env:
{variables}        envFrom:
        - secretRef: {{name: {name}}}
        resources: {{requests: {{cpu: "1", memory: 2Gi}}, limits: {{memory: 2Gi}}}}
        volumeMounts: [{{name: state, mountPath: /state}}]
  volumeClaimTemplates:
  - metadata: {{name: state}}
    spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 10Gi}}}}}}
EOF"#,
            image = self.image
        )
    }

    fn aci(&self) -> String {
        let variables = self.each(|key, value| format!(" {key}={value}"));
        format!(
            "az container create --resource-group RESOURCE_GROUP --name {} \\\n  --image {} --os-type Linux --cpu 1 \
             --memory 2 \\\n  --subnet SUBNET_ID --assign-identity IDENTITY_ID \\\n  --command-line \"millrace agent\" \
             \\\n  --restart-policy Always \\\n  --environment-variables{variables} \\\n  \
             --secure-environment-variables \"OAUTH_CLIENT_SECRET=$(cat agent-secret)\"",
            self.name, self.image
        )
    }

    fn gce(&self) -> String {
        let name = &self.name;
        let variables = self.each(|key, value| format!(" -e {key}={value}"));
        format!(
            r#"gcloud secrets create {name} --data-file=agent-secret

cat > cloud-init.yaml <<'EOF'
#cloud-config
write_files:
- path: /etc/systemd/system/millrace.service
  content: |
    [Service]
    Restart=always
    TimeoutStopSec=60
    ExecStart=/usr/bin/docker run --rm --name agent -v /var/millrace:/state{variables} -e OAUTH_CLIENT_SECRET_REF={{"secretType":"google_secret_manager","secretName":"{name}"}} {image} agent
    ExecStop=/usr/bin/docker stop agent
runcmd:
- systemctl daemon-reload
- systemctl start millrace
EOF
gcloud compute instances create {name} --zone ZONE --machine-type e2-standard-2 \
  --image-family cos-stable --image-project cos-cloud \
  --service-account SERVICE_ACCOUNT --scopes cloud-platform \
  --metadata-from-file user-data=cloud-init.yaml"#,
            image = self.image
        )
    }
}
