//! What people are told of the sandboxes of their machine.

use std::process::Command;

use super::ground::is_nobody;

fn config(vars: &[(&str, &str)]) -> String {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cody-batch"));
    command.arg("--data-dir").arg(data.path()).arg("config").env_remove("ANTHROPIC_API_KEY");
    let ran = command.envs(vars.iter().copied()).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr))
}

/// The lines under the heading, however wide their columns.
fn told(vars: &[(&str, &str)]) -> Vec<String> {
    let said = config(vars);
    let (_, lines) = said.split_once("# Sandboxes on this machine\n").expect(&said);
    lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn config_tells_which_sandbox_works_and_which_is_used() {
    let (works, used) = ("works", "works, and is used");
    let lines = |bubblewrap, landlock| {
        vec![format!("bubblewrap {bubblewrap}"), format!("landlock {landlock}")]
    };
    assert_eq!(told(&[]), lines(used, works));
    let in_landlock = told(&[("CODY_SANDBOX", "landlock")]);
    assert_eq!(in_landlock[..2], lines(works, used));
    assert!(in_landlock[2].starts_with("Landlock holds less than bubblewrap:"), "{in_landlock:?}");
    assert_eq!(in_landlock[2].contains("change modes"), !rustix::process::geteuid().is_root());
    let off = told(&[("CODY_SANDBOX", "off")]);
    assert_eq!(off[..2], lines(works, works));
    assert!(off[2].starts_with("None is used"), "{off:?}");

    let without = "bubblewrap (bwrap) is not installed";
    assert_eq!(told(&[("PATH", "/nowhere")])[..2], lines(without, used));
    let said = config(&[("CODY_SANDBOX", "docker")]);
    let expected = "`sandbox` (from the environment) is `docker`, which is not auto, bubblewrap, landlock or off";
    assert!(said.contains(expected), "{said}");
    println!("{}", if is_nobody() { "as an ordinary user" } else { "as whoever runs the tests" });
}
