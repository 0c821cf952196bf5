//! How an agent is started on each platform: one block of commands with everything filled in that the hub knows. What only
//! the reader knows stands in capitals. A secret or a key itself is never part of it.

mod clusters;
mod sign_in;

use crate::db::agents::Agent;
use crate::settings::Settings;

pub(crate) use sign_in::SignIn;
use sign_in::TOKEN_FILE;

/// Names and values of the agent's environment; a secret or a key comes from the platform's secret store.
pub(crate) fn environment(settings: &Settings, agent: &Agent, sign_in: &SignIn) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("HUB_URL", settings.public_url.clone()),
        ("ACCOUNT_ID", agent.account_id.clone()),
        ("AGENT_ID", agent.id.clone()),
        ("OAUTH_CLIENT_ID", agent.client_id.clone()),
        ("STATE_DIR", "/state".into()),
    ];
    all.extend(sign_in.variables());
    all
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
pub(crate) fn text(settings: &Settings, (agent, sign_in): (&Agent, &SignIn), format: &str) -> Option<String> {
    let place = Place { image: &settings.agent_image, agent, settings, sign_in, name: resource_name(agent) };
    Some(match format {
        "fargate" => place.fargate(),
        "eks" | "aks" | "gke" => place.kubernetes(),
        "aci" => place.aci(),
        "gce" => place.gce(),
        "docker" => place.docker(),
        "env" => place.env(),
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
    sign_in: &'a SignIn,
    name: String,
}

impl Place<'_> {
    fn each(&self, line: impl Fn(&str, &str) -> String) -> String {
        environment(self.settings, self.agent, self.sign_in).iter().map(|(name, value)| line(name, value)).collect()
    }

    fn env(&self) -> String {
        let file = self.sign_in.file().map(|(variable, file)| format!("{variable}={file}\n")).unwrap_or_default();
        self.each(|name, value| format!("{name}={value}\n")) + &file
    }

    fn docker(&self) -> String {
        let variables = self.each(|name, value| format!("  -e {name}={value} \\\n"));
        let shown = match (self.sign_in, self.sign_in.file()) {
            // Its folder, for the platform puts a new file in the old one's place.
            (SignIn::Token { .. }, _) => {
                format!("  -e {TOKEN_FILE}=/run/workload/TOKEN \\\n  -v TOKEN_FOLDER:/run/workload:ro \\\n")
            }
            (_, Some((variable, file))) => {
                format!("  -e {variable}=/run/{file} \\\n  -v \"$PWD/{file}:/run/{file}:ro\" \\\n")
            }
            (_, None) => String::new(),
        };
        format!(
            "docker run -d --name {} --restart unless-stopped --read-only \\\n{variables}{shown}  \
             -v {}-state:/state \\\n  {} agent",
            self.name, self.name, self.image
        )
    }

    fn aci(&self) -> String {
        let variables = self.each(|key, value| format!(" {key}={value}"));
        let (variable, more) = match self.sign_in {
            SignIn::Secret => {
                (String::new(), " \\\n  --secure-environment-variables \"OAUTH_CLIENT_SECRET=$(cat agent-secret)\"")
            }
            SignIn::Key => (
                " OAUTH_CLIENT_KEY_FILE=/run/agent-key/agent-key".to_owned(),
                " \\\n  --secrets agent-key=\"$(cat agent-key.pem)\" --secrets-mount-path /run/agent-key",
            ),
            SignIn::Token { .. } => (format!(" {TOKEN_FILE}=TOKEN_FILE"), ""),
            SignIn::Identity { .. } => (String::new(), ""),
        };
        format!(
            "az container create --resource-group RESOURCE_GROUP --name {} \\\n  --image {} --os-type Linux --cpu 1 \
             --memory 2 \\\n  --subnet SUBNET_ID --assign-identity IDENTITY_ID \\\n  --command-line \"millrace agent\" \
             \\\n  --restart-policy Always \\\n  --environment-variables{variables}{variable}{more}",
            self.name, self.image
        )
    }

    fn gce(&self) -> String {
        let name = &self.name;
        let variables = self.each(|key, value| format!(" -e {key}={value}"));
        let (file, before, shown) = match self.sign_in {
            SignIn::Secret => {
                let reference = format!(r#"{{"secretType":"google_secret_manager","secretName":"{name}"}}"#);
                // In quotes: systemd takes those of the JSON off otherwise.
                (Some("agent-secret"), String::new(), format!(" -e 'OAUTH_CLIENT_SECRET_REF={reference}'"))
            }
            SignIn::Key => (
                Some("agent-key.pem"),
                format!(
                    "\n    ExecStartPre=/bin/sh -c 'umask 077 && mkdir -p /var/millrace-key && /usr/bin/docker run --rm \
                     gcr.io/google.com/cloudsdktool/google-cloud-cli:slim gcloud secrets versions access latest \
                     --secret={name} > /var/millrace-key/agent-key.pem && chown -R 65532 /var/millrace-key'"
                ),
                " -v /var/millrace-key:/run/agent-key:ro -e OAUTH_CLIENT_KEY_FILE=/run/agent-key/agent-key.pem"
                    .to_owned(),
            ),
            SignIn::Token { .. } => {
                (None, String::new(), format!(" -v TOKEN_FOLDER:/run/workload:ro -e {TOKEN_FILE}=/run/workload/TOKEN"))
            }
            SignIn::Identity { .. } => (None, String::new(), String::new()),
        };
        let keep = file.map(|file| format!("gcloud secrets create {name} --data-file={file}\n\n")).unwrap_or_default();
        format!(
            r"{keep}cat > cloud-init.yaml <<'EOF'
#cloud-config
write_files:
- path: /etc/systemd/system/millrace.service
  content: |
    [Service]
    Restart=always
    TimeoutStopSec=60
    ExecStartPre=/bin/sh -c 'mkdir -p /var/millrace && chown 65532 /var/millrace'{before}
    ExecStart=/usr/bin/docker run --rm --name agent -v /var/millrace:/state{variables}{shown} {image} agent
    ExecStop=/usr/bin/docker stop agent
runcmd:
- systemctl daemon-reload
- systemctl start millrace
EOF
gcloud compute instances create {name} --zone ZONE --machine-type e2-standard-2 \
  --image-family cos-stable --image-project cos-cloud \
  --service-account SERVICE_ACCOUNT --scopes cloud-platform \
  --metadata-from-file user-data=cloud-init.yaml",
            image = self.image
        )
    }
}
