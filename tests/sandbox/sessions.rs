//! What goes on from one command to the next.

use cody_batch::sandbox::{Sandbox, SandboxCommand, SandboxOptions, ShellSession};
use cody_events::attempt::SandboxBackend;

use super::ground::*;

#[tokio::test]
async fn a_session_carries_directory_and_exports_until_a_restart() {
    for sandbox in both().await {
        carries(&sandbox).await;
    }
}

async fn carries(sandbox: &Sandbox) {
    let dir = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir().unwrap();
    let session = ShellSession::new(memory.path().to_owned()).unwrap();
    let steps = [
        ("mkdir sub; cd sub; export COLOUR='blue \"green\n$(x)\"'; plain=1; false; exit 4", ""),
        ("pwd; echo \"$COLOUR[$plain]\"", "/repo/sub\nblue \"green\n$(x)\"[]\n"),
        (
            "unset COLOUR; cd - >/dev/null; set -eux; export A=1; exec true",
            "++ export A=1\n++ A=1\n++ exec true\n",
        ),
        ("pwd; echo ${COLOUR-none} ${A-none}", "/repo/sub\nblue \"green $(x)\" none\n"),
        ("export A=1; trap 'echo mine' EXIT; cd ..", "mine\n"),
        ("echo $A; pwd; cd sub; set -x; set -e; false", "1\n/repo\n++ set -e\n++ false\n"),
        ("rmdir ../sub\nif", "/run/cody/command: line 3: syntax error: unexpected end of file\n"),
        ("pwd; export PATH=/nowhere", "[/repo/sub is gone; the shell is back in /repo]\n/repo\n"),
        ("echo $PATH; true", "/nowhere\n"),
        ("/usr/bin/head -c 900000 /dev/zero >$__cody_run/report; exec /usr/bin/true", ""),
        ("echo $PATH", "/nowhere\n"),
    ];
    for (script, expected) in steps {
        let with = SandboxCommand { session: Some(session.clone()), ..command(dir.path(), script) };
        let ran = sandbox.run(&with).await.unwrap();
        assert_eq!(text(&ran), expected, "{:?}: {script}", sandbox.backend());
    }
    session.restart().unwrap();
    let fresh = SandboxCommand {
        session: Some(session.clone()),
        ..command(dir.path(), "pwd; echo ${A-none}; [ $PATH = /nowhere ] || echo back")
    };
    assert_eq!(text(&sandbox.run(&fresh).await.unwrap()), "/repo\nnone\nback\n");
}

#[tokio::test]
async fn any_posix_shell_will_do() {
    for backend in [SandboxBackend::Bubblewrap, SandboxBackend::Landlock] {
        let plain = SandboxOptions { plain_sh: true, ..options(backend) };
        let sh = sandbox(&plain).await;
        let dir = tempfile::tempdir().unwrap();
        let memory = tempfile::tempdir().unwrap();
        let session = ShellSession::new(memory.path().to_owned()).unwrap();
        for (script, code, expected) in [
            ("cd /tmp; export A='b\nc'; ulimit -p; exit 3", 3, "4096\n"),
            (
                "pwd; printf '%s\\n' \"$A\"\nfi",
                2,
                "/tmp\nb\nc\nshell: 2: /run/cody/command: Syntax error: \"fi\" unexpected\n",
            ),
        ] {
            let session = Some(session.clone());
            let call = SandboxCommand { session, ..command(dir.path(), script) };
            let ran = sh.run(&call).await.unwrap();
            assert_eq!((ran.exit_code, text(&ran).as_str()), (Some(code), expected), "{backend:?}");
        }
    }
}
