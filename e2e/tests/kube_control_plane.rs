//! The control plane lab: what it is, what of it can be ended on purpose, and that nothing of it stays.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sluice_e2e::control_plane::{
    ASSETS_VARIABLE, ControlPlane, ControlPlaneError, Kubectl, Options, Part, Programs, User,
};
use sluice_e2e::skip::skip;

/// For what happens within a second where nothing else is done.
const PATIENCE: Duration = Duration::from_secs(60);

/// `None`, and reported, where there are no programs and no Go to build them.
fn start(test: &str, options: &Options) -> Option<ControlPlane> {
    match ControlPlane::start(options) {
        Ok(control_plane) => Some(control_plane),
        Err(error @ ControlPlaneError::NoGo { .. }) => {
            skip(test, &error.to_string());
            None
        }
        // The usual sets of programs to test with have none.
        Err(ControlPlaneError::NotAmongAssets { program })
            if program.ends_with(Part::ControllerManager.program()) =>
        {
            skip(test, &format!("no {}", program.display()));
            None
        }
        Err(error) => panic!("{:#}", anyhow::Error::from(error)),
    }
}

/// Where its files are.
fn directory(control_plane: &ControlPlane) -> PathBuf {
    control_plane.kubeconfig().parent().unwrap().to_owned()
}

/// Command lines of all processes on this machine that name the directory, as the servers' and their guards' do.
fn processes_of(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap() {
        // One that ends meanwhile has no command line any more.
        let command = std::fs::read(process.unwrap().path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(directory.to_str().unwrap()) {
            found.push(command);
        }
    }
    found
}

fn is_there(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "not yet: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().split_whitespace().next().unwrap();
    kib.parse::<u64>().unwrap() / 1024
}

fn get(kubectl: &Kubectl, what: &[&str]) -> Value {
    let arguments = [&["get", "-o", "json"], what].concat();
    serde_json::from_str(&kubectl.run(&arguments).unwrap()).unwrap()
}

fn apply(kubectl: &Kubectl, manifest: &Value) {
    kubectl
        .run_with_input(&["apply", "-f", "-"], &manifest.to_string())
        .unwrap();
}

#[test]
fn it_comes_up_and_takes_the_examples() {
    let Some(control_plane) = start("examples", &Options::default()) else {
        return;
    };
    let memory = |part| resident_mib(control_plane.process_id(part).unwrap());
    println!(
        "ready after {:.2} s; kube-apiserver has {} MiB, etcd {} MiB",
        control_plane.ready_after().as_secs_f64(),
        memory(Part::ApiServer),
        memory(Part::Etcd),
    );
    let kubectl = control_plane.kubectl().unwrap();
    if control_plane.programs().are_built() {
        let versions = kubectl.run(&["version", "-o", "json"]).unwrap();
        let versions: Value = serde_json::from_str(&versions).unwrap();
        for side in ["clientVersion", "serverVersion"] {
            assert_eq!(versions[side]["gitVersion"], Programs::version(), "{side}");
        }
    }

    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    kubectl.run(&["create", "namespace", "demo"]).unwrap();
    for example in ["web", "dns", "affinity", "source-ranges", "node"] {
        let file = examples.join(example).with_extension("yaml");
        kubectl
            .run(&["apply", "-f", file.to_str().unwrap()])
            .unwrap();
    }
    let web = get(&kubectl, &["service", "web", "-n", "demo"]);
    assert_eq!(
        web["spec"]["clusterIPs"],
        json!(["10.96.0.80", "fd00:10:96::80"])
    );
    assert_eq!(web["spec"]["ports"][0]["nodePort"], 30080);
    let slices = get(&kubectl, &["endpointslices", "-n", "demo"]);
    assert_eq!(slices["items"].as_array().unwrap().len(), 5);
}

#[test]
fn what_was_written_survives_the_death_of_the_api_server() {
    let Some(mut control_plane) = start("kill", &Options::default()) else {
        return;
    };
    let kubectl = control_plane.kubectl().unwrap();
    let (url, first) = (
        control_plane.url(),
        control_plane.process_id(Part::ApiServer),
    );
    kubectl
        .run(&["create", "configmap", "kept", "--from-literal=word=here"])
        .unwrap();

    control_plane.kill_api_server().unwrap();
    assert!(!is_there(first.unwrap()));
    assert_eq!(control_plane.process_id(Part::ApiServer), None);
    let refused = kubectl.answer(&["get", "configmap", "kept"], "").unwrap();
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("refused"), "{}", refused.stderr);

    control_plane.start_api_server().unwrap();
    assert_eq!(control_plane.url(), url);
    assert_ne!(control_plane.process_id(Part::ApiServer), first);
    let kept = get(&kubectl, &["configmap", "kept"]);
    assert_eq!(kept["data"]["word"], "here");
}

#[test]
fn an_emptied_etcd_remembers_nothing_and_takes_new_objects() {
    let Some(mut control_plane) = start("empty", &Options::default()) else {
        return;
    };
    let kubectl = control_plane.kubectl().unwrap();
    kubectl.run(&["create", "configmap", "lost"]).unwrap();
    let before = get(&kubectl, &["namespace", "default"]);

    control_plane.empty_etcd().unwrap();
    let lost = kubectl.answer(&["get", "configmap", "lost"], "").unwrap();
    assert!(lost.stderr.contains("NotFound"), "{}", lost.stderr);
    let after = get(&kubectl, &["namespace", "default"]);
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    kubectl.run(&["create", "configmap", "lost"]).unwrap();
}

#[test]
fn a_token_has_the_rights_that_were_given_to_its_holder_and_no_others() {
    let options = Options {
        users: vec![User::new("visitor")],
        ..Options::default()
    };
    let Some(control_plane) = start("rights", &options) else {
        return;
    };
    let admin = control_plane.kubectl().unwrap();
    let holding = |kubeconfig: PathBuf| admin.with_kubeconfig(&kubeconfig);
    let visitor = holding(control_plane.kubeconfig_of("visitor").unwrap());
    let list = ["get", "services"];

    let forbidden = visitor.answer(&list, "").unwrap();
    assert!(!forbidden.status.success());
    assert!(
        forbidden.stderr.contains("User \"visitor\" cannot list"),
        "{}",
        forbidden.stderr
    );
    let role = ["--verb=list", "--resource=services"];
    admin
        .run(&[&["create", "clusterrole", "reader"], &role[..]].concat())
        .unwrap();
    let binding = ["--clusterrole=reader", "--user=visitor"];
    admin
        .run(&[&["create", "clusterrolebinding", "reader"], &binding[..]].concat())
        .unwrap();
    wait_until("the visitor may list services", || {
        visitor.run(&list).is_ok()
    });
    assert!(visitor.run(&["create", "configmap", "more"]).is_err());

    // As pods have them.
    admin.run(&["create", "serviceaccount", "robot"]).unwrap();
    let token = admin.run(&["create", "token", "robot"]).unwrap();
    let robot = holding(
        control_plane
            .kubeconfig_with_token("robot", token.trim())
            .unwrap(),
    );
    let name = robot.run(&[
        "auth",
        "whoami",
        "-o",
        "jsonpath={.status.userInfo.username}",
    ]);
    assert_eq!(name.unwrap(), "system:serviceaccount:default:robot");

    let stranger = control_plane.kubeconfig_with_token("stranger", "0123");
    let unknown = holding(stranger.unwrap()).answer(&list, "").unwrap();
    assert!(
        unknown.stderr.contains("Unauthorized"),
        "{}",
        unknown.stderr
    );
    assert!(matches!(
        control_plane.kubeconfig_of("stranger"),
        Err(ControlPlaneError::NoSuchUser { .. })
    ));
}

#[test]
fn the_controller_manager_makes_slices_of_ready_pods() {
    let options = Options {
        controller_manager: true,
        ..Options::default()
    };
    let Some(control_plane) = start("slices", &options) else {
        return;
    };
    println!(
        "ready with controllers after {:.2} s",
        control_plane.ready_after().as_secs_f64()
    );
    let kubectl = control_plane.kubectl().unwrap();
    apply(
        &kubectl,
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}),
    );
    apply(
        &kubectl,
        &json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }),
    );
    apply(
        &kubectl,
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"nodeName": "node-a", "containers": [{"name": "web", "image": "web"}]},
        }),
    );
    let status = json!({"status": {
        "phase": "Running", "podIP": "10.244.0.11", "podIPs": [{"ip": "10.244.0.11"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    kubectl
        .run(&[
            "patch",
            "pod",
            "web",
            "--subresource=status",
            "-p",
            &status.to_string(),
        ])
        .unwrap();
    let of_web = ["endpointslices", "-l", "kubernetes.io/service-name=web"];
    wait_until("the pod is an endpoint that is ready", || {
        let endpoint = &get(&kubectl, &of_web)["items"][0]["endpoints"][0];
        endpoint["addresses"] == json!(["10.244.0.11"]) && endpoint["conditions"]["ready"] == true
    });
}

#[test]
fn nothing_is_left_after_its_end_nor_after_a_panic() {
    let options = Options::default();
    let Some(control_plane) = start("end", &options) else {
        return;
    };
    let files = directory(&control_plane);
    let servers = [Part::Etcd, Part::ApiServer].map(|part| control_plane.process_id(part).unwrap());
    assert!(servers.into_iter().all(is_there));
    // Guards, what watches for their end, servers.
    assert!(processes_of(&files).len() >= 4);
    let api = control_plane.api().unwrap();
    let reply = api.get("/api/v1/namespaces/none").unwrap();
    assert_eq!((reply.code, &reply.body["kind"]), (404, &json!("Status")));
    drop((api, control_plane));
    assert!(!servers.into_iter().any(is_there));
    wait_until("guards are gone", || processes_of(&files).is_empty());
    assert!(!files.exists());

    let mut files = PathBuf::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let control_plane = ControlPlane::start(&options).unwrap();
        files = directory(&control_plane);
        let _api = control_plane.api().unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    wait_until("all is gone", || processes_of(&files).is_empty());
    assert!(!files.exists());
}

/// `sluice-control-plane`, ready, with the directory of its files.
fn program(programs: &Path) -> (Child, PathBuf, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice-control-plane"))
        .env(ASSETS_VARIABLE, programs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut kubeconfig = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut kubeconfig)
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let files = Path::new(kubeconfig.trim()).parent().unwrap().to_owned();
    assert!(!processes_of(&files).is_empty());
    (child, files, said)
}

#[test]
fn servers_die_with_the_process_that_started_them_and_may_be_programs_from_elsewhere() {
    let programs = match Programs::get() {
        Ok(programs) => programs,
        Err(error @ ControlPlaneError::NoGo { .. }) => return skip("death", &error.to_string()),
        Err(error) => panic!("{:#}", anyhow::Error::from(error)),
    };
    let programs = programs.directory();

    let (mut killed, files, said) = program(programs);
    assert!(
        said.contains(ASSETS_VARIABLE) && said.contains(programs.to_str().unwrap()),
        "{said}"
    );
    killed.kill().unwrap();
    killed.wait().unwrap();
    wait_until("all is gone", || processes_of(&files).is_empty());
    // Nobody was left to remove them.
    std::fs::remove_dir_all(&files).unwrap();

    let (mut interrupted, files, _) = program(programs);
    let id = Pid::from_raw(interrupted.id().try_into().unwrap());
    kill(id, Signal::SIGINT).unwrap();
    assert!(interrupted.wait().unwrap().success());
    wait_until("all is gone", || processes_of(&files).is_empty());
    assert!(!files.exists());

    let empty = tempfile::tempdir().unwrap();
    let lacking = Command::new(env!("CARGO_BIN_EXE_sluice-control-plane"))
        .env(ASSETS_VARIABLE, empty.path())
        .output()
        .unwrap();
    assert!(!lacking.status.success());
    let said = String::from_utf8_lossy(&lacking.stderr).into_owned();
    assert!(said.contains("KUBEBUILDER_ASSETS has no"), "{said}");
}
