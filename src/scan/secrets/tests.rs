//! What is found, what is not, and what is left of a text. Secrets are put together here, so that
//! nobody who looks through this repository finds one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use secrecy::SecretString;

use super::*;

/// Letters and digits that no rule knows.
fn noise(length: usize) -> String {
    let alphabet = b"kQ3xZ9vB7mT2wR8cY5nH4jL6pF1sDgAe";
    (0..length).map(|at| char::from(alphabet[(at * 7 + at / 5) % alphabet.len()])).collect()
}

fn rules_in(text: &str) -> Vec<String> {
    find(text, None).into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn every_rule_compiles() {
    let rules = Rules::read().unwrap();
    assert_eq!(rules.rules.len(), 222);
    for rule in &rules.rules {
        assert!(rule.compiles(), "{}", rule.id());
    }
}

/// A key is one, whatever a terminal is told beside it.
#[test]
fn a_character_that_was_written_out_ends_a_secret() {
    let key = format!("{}{}AA", "sk-ant-api03-", noise(93));
    for (before, after) in [("", "\r"), ("\u{1b}[31m", "\u{1b}[0m"), ("\u{feff}", "\u{200b}")] {
        let shown = format!("{before}{key}{after}");
        let shown = crate::scan::revealed(&shown);
        let (masked, count) = mask(&shown, &KnownSecrets::default()).unwrap();
        assert_eq!(count, 1, "{shown}");
        assert!(!masked.contains(&key), "{masked}");
    }
}

#[test]
fn what_looks_like_a_secret_is_found() {
    let key = format!(
        "-----BEGIN RSA {0}-----\n{1}\n{1}\n-----END RSA {0}-----",
        "PRIVATE KEY",
        noise(64)
    );
    for (text, rule) in [
        (format!("token: {}{}", "ghp_", noise(36)), "github-pat"),
        (format!("{}{}", "github_pat_", noise(82)), "github-fine-grained-pat"),
        (format!("Bearer {}{}", "cody_", noise(43)), "cody-batch-token"),
        (format!("key = \"{}{}\"", "AKIA", "IOSFODNN7QWERTYZ"), "aws-access-token"),
        (format!("{}{}", "xoxb-123456789012-123456789012-", noise(24)), "slack-bot-token"),
        (format!("{}{}{}AA", "sk-ant-api03-", noise(93), ""), "anthropic-api-key"),
        (key, "private-key"),
        (format!("secret_{} = '{}'", "api_key", noise(40)), "generic-api-key"),
        (
            format!("//h/:_{}={}{}", "authToken", "npm_", noise(36).to_lowercase()),
            "npm-access-token",
        ),
    ] {
        assert!(rules_in(&text).iter().any(|found| found == rule), "{rule}: {text}");
        let long = format!("{}\n{text}\n{}", "x ".repeat(20_000), "y ".repeat(20_000));
        let found = find(&long, None);
        assert!(found.iter().any(|found| found.rule == rule && found.line == 2), "{rule} in much");
    }
}

#[test]
fn what_only_looks_random_is_not() {
    for text in [
        "commit 83d9cd684c87d95d656c1458ef04895a7f1cbd8e\n".to_owned(),
        "checksum = \"e163e53b9e7e8a8511e77271e2b323ed057759542a6d988258afe3a1fa329caf\"".to_owned(),
        "\"integrity\": \"sha512-9BCxFwvbGg/RsZK9tjXd8s4UcwR0MWeFQ1XEKIQVVvAGJyINdrqKMcTRyLoK8Rse1GjzLV9cwjWV1olXRWEXVA==\"".to_owned(),
        "id: 01928f3e-7b1c-7d3a-9c1e-3a5b7c9d1e2f".to_owned(),
        "api_key = os.environ[\"API_KEY\"]".to_owned(),
        "password = getpass.getpass()".to_owned(),
        "const token = await getToken();".to_owned(),
        format!("{}{}", "AKIA", "IOSFODNN7EXAMPLE"),
        "<img src=\"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4\">".to_owned(),
        "fn secret_key_length() -> usize { 32 }".to_owned(),
        "The secret of good prose is access to words.".to_owned(),
    ] {
        assert_eq!(rules_in(&text), Vec::<String>::new(), "{text}");
    }
    let token = format!("{}{}", "ghp_", noise(36));
    assert!(
        find(&token, Some("web/package-lock.json")).is_empty(),
        "lock files are full of hashes"
    );
    assert!(!find(&token, Some("web/main.ts")).is_empty());
}

#[test]
fn a_masked_text_says_what_was_there_and_keeps_the_rest() {
    let token = format!("{}{}", "ghp_", noise(36));
    let text = format!("é a={token} b\nc={token}\n");
    let (masked, count) = mask(&text, &KnownSecrets::default()).unwrap();
    assert_eq!(count, 2);
    assert_eq!(masked, "é a=[secret removed: github-pat] b\nc=[secret removed: github-pat]\n");
    assert_eq!(mask("nothing here", &KnownSecrets::default()), None);
}

#[test]
fn our_own_secrets_are_found_in_every_form() {
    let value = "an entirely+plain/phrase \"of\" ours";
    let known = KnownSecrets::new([&SecretString::from(value)]);
    let base64 = |lead: &str| STANDARD.encode(format!("{lead}{value}!!"));
    for text in [
        format!("x{value}x"),
        format!(
            "?q={}",
            url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>()
        ),
        serde_json::json!({ "a": value }).to_string(),
        hex::encode(value),
        base64(""),
        base64("u:"),
        base64("a"),
        base64("user:"),
    ] {
        let (masked, _) = mask(&text, &known).unwrap_or_else(|| panic!("{text}"));
        assert!(masked.contains("[secret removed: our-own]"), "{masked}");
        assert!(!masked.contains("plain/phrase"), "{masked}");
    }
    assert!(!format!("{known:?}").contains("plain"));
    let short = KnownSecrets::new([&SecretString::from("key")]);
    assert_eq!(mask("key monkey", &short), None);
}

proptest! {
    #[test]
    fn any_text_is_searched_and_masked_once_for_all(
        text in "(ghp_|AKIA|secret|token=|\"|=|é|\n|[a-zA-Z0-9]{1,40}| ){0,40}",
    ) {
        let known = KnownSecrets::default();
        for finding in find(&text, None) {
            prop_assert!(text.get(finding.start..finding.end).is_some_and(|s| !s.is_empty()));
        }
        if let Some((masked, _)) = mask(&text, &known) {
            prop_assert!(masked.contains("[secret removed: "));
        }
    }
}

/// How fast, for whoever asks: `cargo test --release … -- --ignored --nocapture speed`.
#[test]
#[ignore = "a measurement"]
fn speed_and_memory() {
    let rss = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = rss();
    let started = std::time::Instant::now();
    find("nothing", None);
    println!("rules read in {:?}", started.elapsed());
    let sources: String = std::fs::read_dir("src/job")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .collect();
    let log: String = (0..20_000)
        .map(|n| format!("test a::b{n} ... ok in {n} ms with token=x and key {n}\n"))
        .collect();
    let lock = include_str!("../../../Cargo.lock").to_owned();
    for (what, text) in [("sources", sources.repeat(10)), ("log", log), ("lock", lock.repeat(10))] {
        find(&text, None);
        let started = std::time::Instant::now();
        let found = find(&text, None).len();
        let rate = text.len() as f64 / started.elapsed().as_secs_f64() / 1e6;
        println!("{what}: {} bytes, {found} findings, {rate:.1} MB/s", text.len());
    }
    println!("{} KiB more", rss() - before);
}
