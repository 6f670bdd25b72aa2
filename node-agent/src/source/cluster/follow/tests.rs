//! What a stream of events is taken for.

use std::time::Instant;

use futures::stream;
use sluice_api_access::Requests;
use sluice_crds::v1alpha1::ServiceProxyPolicySpec;

use super::super::nobody;
use super::super::settings::Settings;
use super::*;

fn slice(name: &str) -> Guarded<EndpointSlice> {
    let text =
        format!(r#"{{"metadata": {{"name": "{name}"}}, "addressType": "IPv4", "endpoints": []}}"#);
    Guarded(Ok(serde_json::from_str(&text).unwrap()))
}

/// Nobody is there to be asked.
async fn follower() -> Follower {
    let directory = tempfile::tempdir().unwrap();
    let access = nobody::access(&directory, "{}");
    let opened = access.open().await.unwrap();
    let client = opened.client(&Requests::default()).unwrap();
    let settings = Settings::new(ServiceProxyPolicySpec::default(), None);
    Follower {
        kind: Kind::EndpointSlice,
        authority: opened.authority,
        mailbox: Arc::new(Mailbox::new(settings)),
        metrics: Arc::new(Metrics::default()),
        listed: Listed::of(Arc::new(Store::new(client))),
        failures: Failures::default(),
        trouble: None,
        is_on_probation: false,
        is_listing: false,
        believe: false,
    }
}

#[tokio::test]
async fn a_list_that_is_cut_short_is_a_failure_and_asked_for_again_after_rests_that_grow() {
    let mut follower = follower().await;
    let mut rests = Vec::new();
    for _ in 0..3 {
        let events = [
            Event::Init,
            Event::InitApply(slice("a")),
            // What the runtime says when the stream ends here.
            Event::Init,
            Event::InitApply(slice("a")),
        ];
        let begun = Instant::now();
        let events = stream::iter(events.map(Ok));
        let next = follower.follow::<EndpointSlice>(events, true).await;
        assert_eq!(next, Next::ListAgain);
        assert_eq!(follower.trouble, Some("unreachable"));
        rests.push(begun.elapsed());
    }
    assert!(rests[0] >= Duration::from_millis(300), "{rests:?}");
    assert!(rests[2] >= Duration::from_millis(1200), "{rests:?}");
}
