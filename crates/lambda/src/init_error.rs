//! Tells Lambda why the function cannot start, so that whoever invokes it reads it in the answer.

use serde_json::json;

/// Longest wait for Lambda to take it.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Posts `error` to the runtime API's `init/error`.
pub(crate) async fn tell(runtime_api: &str, error: &anyhow::Error) {
    let url = format!("http://{runtime_api}/2018-06-01/runtime/init/error");
    let body = json!({"errorType": "Settings", "errorMessage": format!("{error:#}"), "stackTrace": []});
    let told = tokio::task::spawn_blocking(move || {
        ureq::post(&url)
            .config()
            .timeout_global(Some(WITHIN))
            .build()
            .header("Lambda-Runtime-Function-Error-Type", "Settings")
            .send_json(body)
            .map(drop)
    });
    if let Ok(Err(error)) = told.await {
        tracing::warn!(%error, "Lambda was not told why the function ends");
    }
}
