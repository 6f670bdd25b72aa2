use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use kube::Config;

use super::*;

fn looked(known: &mut Known, uid: &str, version: u64) -> Era {
    let before = known.clone();
    known.looked(&before, uid.to_owned(), version)
}

#[test]
fn a_store_that_was_made_anew_or_put_back_is_another() {
    let mut known = Known::default();
    let first = looked(&mut known, "a", 100);
    assert_eq!(looked(&mut known, "a", 100), first);
    assert_eq!(looked(&mut known, "a", 101), first);
    let earlier = looked(&mut known, "a", 100);
    assert_ne!(earlier, first);
    assert_eq!(looked(&mut known, "a", 100), earlier);
    assert_ne!(looked(&mut known, "b", 200), earlier);
}

#[test]
fn a_store_behind_what_was_heard_of_it_was_put_back() {
    let mut known = Known::default();
    let first = looked(&mut known, "a", 100);
    known.heard(first, 500);
    let earlier = looked(&mut known, "a", 300);
    assert_ne!(earlier, first);
    // A word from before.
    known.heard(first, 500);
    assert_eq!(looked(&mut known, "a", 301), earlier);
}

#[test]
fn what_is_heard_while_a_look_is_under_way_may_be_newer_than_it() {
    let mut known = Known::default();
    let first = looked(&mut known, "a", 100);
    let before = known.clone();
    known.heard(first, 500);
    assert_eq!(known.looked(&before, "a".to_owned(), 300), first);
    assert_ne!(looked(&mut known, "a", 300), first, "500 was forgotten");
}

#[test]
fn two_who_look_at_once_find_one_other_store() {
    let mut known = Known::default();
    let first = looked(&mut known, "a", 100);
    let before = known.clone();
    let by_one = known.looked(&before, "a".to_owned(), 10);
    let by_the_other = known.looked(&before, "a".to_owned(), 11);
    assert!(by_one != first && by_one == by_the_other);
}

/// An API server that has one service, and says what it is told to.
struct Server {
    port: u16,
    says: Arc<Mutex<(u16, u64)>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            says: Arc::new(Mutex::new((200, 100))),
        };
        let says = Arc::clone(&server.says);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let request = BufReader::new(stream.try_clone().unwrap()).lines();
                let head = request
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty());
                let _ = head.last();
                let (code, version) = *says.lock().unwrap();
                let body = if code == 200 {
                    format!(
                        r#"{{"apiVersion": "v1", "kind": "ServiceList", "metadata": {{"resourceVersion": "{version}"}}, "items": [{{"metadata": {{"uid": "a"}}}}]}}"#
                    )
                } else {
                    format!(r#"{{"apiVersion": "v1", "kind": "Status", "code": {code}}}"#)
                };
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {code} -\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        server
    }

    fn says(&self, code: u16, version: u64) {
        *self.says.lock().unwrap() = (code, version);
    }

    fn store(&self) -> Arc<Store> {
        let url = format!("http://127.0.0.1:{}", self.port);
        let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
        Arc::new(Store::new(client))
    }
}

fn at(version: u64) -> ObjectMeta {
    ObjectMeta {
        resource_version: Some(version.to_string()),
        ..ObjectMeta::default()
    }
}

/// A list that ends with this object.
async fn list(store: &Arc<Store>, last: u64) -> Listed {
    let mut listed = Listed::of(Arc::clone(store));
    listed.begin();
    listed.add(&at(1));
    listed.add(&at(last));
    listed.end().await;
    listed
}

#[tokio::test]
async fn what_one_follower_hears_counts_for_all_and_each_of_them_lists_again() {
    let server = Server::start();
    let store = server.store();
    let (mut one, mut other) = (list(&store, 100).await, list(&store, 90).await);
    one.heard(&at(500));
    server.says(200, 300);
    assert_eq!(other.look().await, Found::Other);
    assert_eq!(one.look().await, Found::Other);
    assert_eq!(other.look().await, Found::Same);
    assert_eq!(one.look().await, Found::Same);
}

#[tokio::test]
async fn a_kind_in_a_store_of_its_own_tells_nothing_of_the_others() {
    let server = Server::start();
    let store = server.store();
    let (mut here, elsewhere) = (list(&store, 100).await, list(&store, 5000).await);
    elsewhere.heard(&at(5001));
    assert_eq!(here.look().await, Found::Same);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_where_there_is_something_to_compare_with() {
    let server = Server::start();
    let store = server.store();
    server.says(500, 0);
    let mut listed = list(&store, 100).await;
    assert_eq!(listed.look().await, Found::Unknown);
    server.says(200, 100);
    assert_eq!(listed.look().await, Found::Unknown);
    server.says(500, 0);
    assert_eq!(listed.look().await, Found::Nothing);
    server.says(403, 0);
    assert_eq!(listed.look().await, Found::Unknown);
    server.says(200, 101);
    assert_eq!(listed.look().await, Found::Same);
}

#[tokio::test]
async fn a_store_of_which_nothing_is_heard_is_looked_at() {
    let server = Server::start();
    let store = server.store();
    let mut listed = list(&store, 100).await;
    server.says(200, 500);
    let known = async {
        while store.known().newest != 500 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = store.keep_known(Duration::from_millis(5)) => {}
        known = tokio::time::timeout(Duration::from_secs(20), known) => known.unwrap(),
    }
    server.says(200, 300);
    assert_eq!(listed.look().await, Found::Other);
}
