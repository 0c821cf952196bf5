//! The commands that start an agent, by what it signs in with.

use millrace_testkit::clouds::issuer::Signer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, on_both_databases};
use crate::trust::{add_key, new_agent, rule};
use crate::visitor::Visitor;

on_both_databases!(the_way_to_start_an_agent_has_what_it_signs_in_with,);

/// The command of the service as a shell takes it apart, which has the same quotes as systemd.
fn words_of_unit(block: &str) -> Vec<String> {
    let line = block.lines().find_map(|line| line.trim().strip_prefix("ExecStart=")).expect("a service");
    let words = std::process::Command::new("sh").arg("-c").arg(format!("printf '%s\\n' {line}")).output().unwrap();
    String::from_utf8(words.stdout).unwrap().lines().map(str::to_owned).collect()
}

async fn the_way_to_start_an_agent_has_what_it_signs_in_with(house: House) {
    let owner = Visitor::owner(&house).await;
    let (agent, _) = new_agent(&house, "north").await;
    let formats = ["env", "docker", "fargate", "eks", "aks", "gke", "aci", "gce"];
    // The block in each form, from the API, and on the page the same.
    let blocks = async || {
        let mut all = Vec::new();
        for format in formats {
            let path = format!("/agents/{agent}/install?format={format}");
            let block = house.call(Method::GET, &path, None).await.text().await.unwrap();
            let (_, page) = owner.see(&path).await;
            let shown = page.replace("&#34;", "\"").replace("&quot;", "\"").replace("&#39;", "'").replace("&#38;", "&");
            let shown = shown.replace("&#60;", "<").replace("&#62;", ">").replace("&amp;", "&");
            assert!(shown.replace("&lt;", "<").replace("&gt;", ">").contains(&block), "{format}: {block}\n{page}");
            if let Some((_, task)) = block.split_once("<<'EOF'\n").filter(|_| format == "fargate") {
                serde_json::from_str::<Value>(task.split("\nEOF").next().unwrap()).expect("the task is JSON");
            }
            all.push(block);
        }
        all
    };
    let all_say = |blocks: &[String], word: &str| blocks.iter().all(|block| block.contains(word));
    let none_says = |blocks: &[String], word: &str| !blocks.iter().any(|block| block.contains(word));
    let by_secret = blocks().await;
    assert!(all_say(&by_secret, "OAUTH_CLIENT_SECRET") && all_say(&by_secret, "agent-secret"), "{by_secret:?}");
    assert!(owner.see(&format!("/agents/{agent}")).await.1.contains("Put the secret where"));
    let on_gce = words_of_unit(&by_secret[7]);
    let reference = on_gce.iter().find_map(|word| word.strip_prefix("OAUTH_CLIENT_SECRET_REF=")).unwrap();
    let reference: Value = serde_json::from_str(reference).expect("the agent gets JSON");
    assert_eq!(reference, json!({"secretType": "google_secret_manager", "secretName": "millrace-north"}));
    assert!(by_secret[7].contains("chown 65532 /var/millrace'"), "its user may write there: {}", by_secret[7]);

    let mut pod = rule("pod");
    pod["audience"] = json!("https://hub.example.com");
    let path = format!("/agents/{agent}/trust-rules");
    let made = house.expect(201, Method::POST, &path, Some(pod)).await;
    let by_token = blocks().await;
    assert!(
        all_say(&by_token, "OAUTH_WORKLOAD_TOKEN_FILE") && none_says(&by_token, "OAUTH_CLIENT_SECRET"),
        "{by_token:?}"
    );
    assert!(by_token[3].contains("serviceAccountName: agent") && by_token[3].contains("kubectl -n lake apply"));
    assert!(by_token[3].contains("audience: \"https://hub.example.com\""), "{}", by_token[3]);
    house.expect(204, Method::DELETE, &format!("{path}/{}", made["trustRuleId"].as_str().unwrap()), None).await;

    let google = json!({"name": "vm", "issuer": "https://accounts.google.com", "subject": "12"});
    house.expect(201, Method::POST, &path, Some(google)).await;
    let by_identity = blocks().await;
    assert!(all_say(&by_identity, "OAUTH_WORKLOAD_IDENTITY") && none_says(&by_identity, "OAUTH_CLIENT_SECRET"));
    let (_, page) = owner.see(&format!("/agents/{agent}")).await;
    assert!(page.contains("OAUTH_WORKLOAD_IDENTITY=google") && !page.contains("OAUTH_CLIENT_SECRET"), "{page}");

    // Its own key comes first.
    add_key(&house, &agent, "one", &Signer::ed25519()).await;
    let by_key = blocks().await;
    assert!(all_say(&by_key, "OAUTH_CLIENT_KEY_FILE") && all_say(&by_key, "agent-key"), "{by_key:?}");
    assert!(none_says(&by_key, "OAUTH_CLIENT_SECRET") && none_says(&by_key, "WORKLOAD"), "{by_key:?}");
    assert!(owner.see(&format!("/agents/{agent}")).await.1.contains("OAUTH_CLIENT_KEY_FILE"));
}
