//! `/healthz`, `/livez` and `/proxyMode`.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sluice_crds::v1alpha1::ActiveMode;

use super::state::{Health, Report};
use crate::metrics::Metrics;

const NO_SNIFF: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");
const JSON: (HeaderName, &str) = (header::CONTENT_TYPE, "application/json");

/// Routes of the health port.
pub fn health_router(health: &Arc<Health>, metrics: &Arc<Metrics>) -> Router {
    let (healthz, livez) = (Arc::clone(health), Arc::clone(health));
    let (healthz_metrics, livez_metrics) = (Arc::clone(metrics), Arc::clone(metrics));
    Router::new()
        .route(
            "/healthz",
            get(async move || {
                let report = healthz.healthz();
                healthz_metrics.http.count_healthz(status(&report).as_u16());
                answer(&report)
            }),
        )
        .route(
            "/livez",
            get(async move || {
                let report = livez.livez();
                livez_metrics.http.count_livez(status(&report).as_u16());
                answer(&report)
            }),
        )
}

/// The route of the metrics port that tells the mode in kube-proxy's words.
pub fn proxy_mode_router(health: &Arc<Health>) -> Router {
    let health = Arc::clone(health);
    Router::new().route(
        "/proxyMode",
        get(async move || {
            let mode = match health.mode() {
                Some(ActiveMode::IPVS) => "ipvs",
                Some(ActiveMode::IPTables) | None => "iptables",
            };
            (
                [
                    (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                    NO_SNIFF,
                ],
                mode,
            )
        }),
    )
}

fn status(report: &Report) -> StatusCode {
    if report.is_good() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn answer(report: &Report) -> Response {
    match serde_json::to_string(report) {
        Ok(body) => (status(report), [JSON, NO_SNIFF], body).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}
