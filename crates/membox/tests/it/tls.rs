//! A box that speaks TLS, and the commands that ask it.

use crate::common::{KeptOnFailure, MEMBOX, Server, data_with_model, membox};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(file: &Path) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let made = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
    fs::write(file, made.pem()).expect("a file");
    made
}

/// Writes a certificate and its key, which nobody else may read.
fn sign(authority: &Authority, name: &str, folder: &Path, file: &str) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    fs::write(folder.join(format!("{file}.crt")), certificate.pem()).expect("a file");
    let path = folder.join(format!("{file}.key"));
    fs::write(&path, key.serialize_pem()).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("rights");
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn commands_ask_a_box_that_speaks_tls_and_wants_their_certificates() {
    let place = KeptOnFailure::new();
    let (folder, data) = (place.path(), data_with_model(place.path()));
    let (of_box, of_clients) = (authority(&folder.join("ca.crt")), authority(&folder.join("clients.crt")));
    sign(&of_box, "localhost", folder, "box");
    sign(&of_clients, "app", folder, "app");
    let settings = "tls_certificate_file = \"box.crt\"\ntls_key_file = \"box.key\"\n";
    fs::write(folder.join("membox.toml"), settings).expect("a file");
    let server = Server::start(&data, &[]);
    let port = |server: &Server| server.url.rsplit(':').next().expect("a port").to_owned();
    let ask = |url: &str, args: &[&str]| -> Output {
        let mut command = Command::new(MEMBOX);
        command.current_dir(folder).arg("--data-dir").arg(&data).args(["recall", "notes", "keys", "--url", url]);
        command.args(args).env_remove("MEMBOX_KEY").output().expect("the binary")
    };
    let url = format!("https://localhost:{}", port(&server));
    let answered = said(&ask(&url, &["--ca-file", "ca.crt"]));
    assert!(answered.contains("there is no collection"), "{answered}");
    let stranger = ask(&url, &[]);
    assert!(!stranger.status.success() && !said(&stranger).contains("there is no collection"), "{}", said(&stranger));
    let plain = said(&ask(&url.replace("https", "http"), &[]));
    assert!(plain.contains("this port speaks TLS"), "{plain}");
    let ready = |port: &str, environment: &[(&str, &str)]| {
        let mut command = membox(&data);
        command.arg("ready").env("MEMBOX_LISTEN", format!("0.0.0.0:{port}"));
        command.envs(environment.iter().copied()).output().expect("the binary")
    };
    let own_port = port(&server);
    let answered = ready(&own_port, &[]);
    assert!(answered.status.success() && said(&answered).contains("ready"), "{}", said(&answered));
    server.stop();
    assert_eq!(ready(&own_port, &[]).status.code(), Some(1), "it has ended");

    fs::write(folder.join("membox.toml"), format!("{settings}tls_client_ca_file = \"clients.crt\"\n")).expect("a file");
    let server = Server::start(&data, &[]);
    let (own_port, url) = (port(&server), format!("https://localhost:{}", port(&server)));
    assert!(!said(&ask(&url, &["--ca-file", "ca.crt"])).contains("there is no collection"));
    let own = ["--ca-file", "ca.crt", "--client-certificate-file", "app.crt", "--client-key-file", "app.key"];
    let answered = said(&ask(&url, &own));
    assert!(answered.contains("there is no collection"), "{answered}");
    let own = [("MEMBOX_CLIENT_CERTIFICATE_FILE", "app.crt"), ("MEMBOX_CLIENT_KEY_FILE", "app.key")];
    assert_eq!((ready(&own_port, &[]).status.code(), ready(&own_port, &own).status.code()), (Some(1), Some(0)));
    server.stop();
}

#[test]
fn settings_of_tls_that_cannot_be_meant_stop_the_start() {
    let place = KeptOnFailure::new();
    let (folder, data) = (place.path(), data_with_model(place.path()));
    let of_box = authority(&folder.join("ca.crt"));
    sign(&of_box, "localhost", folder, "box");
    sign(&of_box, "localhost", folder, "other");
    let both = "tls_certificate_file = \"box.crt\"\ntls_key_file = \"box.key\"\n";
    for wrong in [
        "tls_certificate_file = \"box.crt\"\n".to_owned(),
        "tls_client_ca_file = \"ca.crt\"\n".to_owned(),
        both.replace("box.key", "other.key"),
        both.replace("box.key", "box.crt"),
        both.replace("box.crt", "missing.crt"),
    ] {
        fs::write(folder.join("membox.toml"), &wrong).expect("a file");
        assert!(Server::try_start(&data, &[], &[]).is_none(), "{wrong}");
    }
    fs::write(folder.join("membox.toml"), both).expect("a file");
    fs::set_permissions(folder.join("box.key"), fs::Permissions::from_mode(0o644)).expect("rights");
    assert!(Server::try_start(&data, &[], &[]).is_none(), "others can read the key");
    fs::set_permissions(folder.join("box.key"), fs::Permissions::from_mode(0o600)).expect("rights");
    Server::start(&data, &[]).stop();
}
