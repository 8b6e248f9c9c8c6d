//! Scenarios that every consumer must pass.

use std::path::Path;
use std::time::{Duration, Instant};

use dingtalk_stub::{Apis, Settings};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::world::{Program, World};
use crate::Failure;

const CORP: &str = "ding9f50b15bccd16741";
const OTHER_CORP: &str = "dingother";
const CURRENT: &str = "/v1.0/todo/tasks";
const LEGACY: &str = "/topapi/v2/user/get";
/// Delay of a new token: longer than the interval at which consumers read the file.
const LATE: Duration = Duration::from_millis(2500);
/// Patience, in seconds, of a consumer that must give up.
const SHORT: u32 = 3;

/// A scenario's name and steps.
pub(super) type Scenario = (
    &'static str,
    for<'a> fn(&'a Program, &'a Path) -> BoxFuture<'a, Result<(), Failure>>,
);

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), |program, folder| Box::pin($name(program, folder)))),*]
    };
}

/// Scenarios of the helper that calls an API.
pub(super) const CALLS: [Scenario; 12] = scenarios![
    a_token_that_never_changes,
    a_new_token_that_comes_late,
    an_older_api_and_a_late_token_in_combined,
    an_expired_token_of_an_older_api_and_a_late_one_in_per_corp,
    an_older_api_with_the_code_in_sub_code,
    any_method_and_body,
    each_corp_its_token_in_combined,
    each_corp_its_token_in_per_corp,
    another_error_is_not_a_refusal,
    a_page_instead_of_json,
    no_connection,
    no_token,
];

/// Scenarios of the example with DingTalk's official SDK.
pub(super) const SDK: [Scenario; 3] = scenarios![
    the_sdk_and_a_token_that_never_changes,
    the_sdk_and_a_late_token,
    the_sdk_and_another_error,
];

fn single(token: &str) -> Vec<(String, &str)> {
    vec![("access_token".to_owned(), token)]
}

fn combined<'a>(tokens: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
    let name = |corp_id: &str| format!("{corp_id}.access_token");
    let files = tokens.iter();
    files
        .map(|(corp_id, token)| (name(corp_id), *token))
        .collect()
}

async fn any_method_and_body(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let token = world.fetch(CORP);
    world.write("", &single(&token))?;
    let body = json!({"subject": "工资 & more", "done": false}).to_string();
    let cases = [
        ("GET", CURRENT, ""),
        ("POST", CURRENT, &body),
        ("PUT", CURRENT, &body),
        ("PATCH", CURRENT, &body),
        ("DELETE", CURRENT, ""),
        ("DELETE", CURRENT, &body),
        ("GET", LEGACY, ""),
        ("POST", LEGACY, &body),
    ];
    for (method, path, body) in cases {
        let with_query = format!("{path}?size=2");
        let ended = world.run(&[method, &with_query], body).await?;
        check_call(&world, &ended.answer()?, method, path, body)?;
    }
    world.check_calls(&[true; 8])
}

/// Checks that DingTalk received the request as given, and that its answer was returned.
fn check_call(
    world: &World,
    answer: &Value,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(), Failure> {
    let call = world.last_call()?;
    check(call.method.as_str(), method)?;
    check(call.path.as_str(), path)?;
    check(call.query.as_str(), "size=2")?;
    if body.is_empty() {
        check(call.body.as_str(), "")?;
    } else {
        check_body(world, body)?;
        let kind = call.content_type.unwrap_or_default();
        check(
            kind.split(';').next().unwrap_or_default(),
            "application/json",
        )?;
    }
    check(&answer["corp_id"], &json!(CORP))?;
    check(&answer["method"], &json!(method))
}

/// Compares the body of the last call as JSON.
fn check_body(world: &World, expected: &str) -> Result<(), Failure> {
    let received: Value = serde_json::from_str(&world.last_call()?.body)?;
    check(&received, &serde_json::from_str(expected)?)
}

async fn a_new_token_that_comes_late(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let old = world.fetch(CORP);
    world.write("", &single(&old))?;
    let new = world.fetch(CORP);
    let body = r#"{"subject":"late"}"#;
    let mut child = world.start(&["POST", CURRENT], body).await?;
    world.until_called(&mut child).await?;
    sleep(LATE).await;
    world.check_calls(&[false])?;
    world.write("", &single(&new))?;
    let answer = world.end(child).await?.answer()?;
    check(&answer["corp_id"], &json!(CORP))?;
    check_body(&world, body)?;
    world.check_calls(&[false, true])
}

async fn an_older_api_and_a_late_token_in_combined(
    program: &Program,
    folder: &Path,
) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let (old, other) = (world.fetch(CORP), world.fetch(OTHER_CORP));
    world.write("", &combined(&[(CORP, &old), (OTHER_CORP, &other)]))?;
    let new = world.fetch(CORP);
    let mut child = world.start(&["POST", LEGACY, CORP], r#"{"a":1}"#).await?;
    world.until_called(&mut child).await?;
    // Another corp's new token must not end the wait.
    let other = world.fetch(OTHER_CORP);
    world.write("", &combined(&[(CORP, &old), (OTHER_CORP, &other)]))?;
    sleep(LATE).await;
    world.check_calls(&[false])?;
    world.write("", &combined(&[(CORP, &new), (OTHER_CORP, &other)]))?;
    let answer = world.end(child).await?.answer()?;
    check(&answer["corp_id"], &json!(CORP))?;
    check_body(&world, r#"{"a":1}"#)?;
    world.check_calls(&[false, true])
}

async fn an_expired_token_of_an_older_api_and_a_late_one_in_per_corp(
    program: &Program,
    folder: &Path,
) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    world.stub.configure(|settings| settings.expires_in = 1);
    let old = world.fetch(CORP);
    world.write(CORP, &single(&old))?;
    sleep(Duration::from_millis(1100)).await;
    let mut child = world.start(&["GET", LEGACY, CORP], "").await?;
    world.until_called(&mut child).await?;
    world.stub.configure(|settings| settings.expires_in = 7200);
    let new = world.fetch(CORP);
    sleep(LATE).await;
    world.check_calls(&[false])?;
    world.write(CORP, &single(&new))?;
    let answer = world.end(child).await?.answer()?;
    check(&answer["corp_id"], &json!(CORP))?;
    world.check_calls(&[false, true])
}

async fn an_older_api_with_the_code_in_sub_code(
    program: &Program,
    folder: &Path,
) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let change = |settings: &mut Settings| settings.errors_in_sub_code = true;
    world.stub.configure(change);
    let old = world.fetch(CORP);
    world.write("", &single(&old))?;
    let new = world.fetch(CORP);
    let mut child = world.start(&["GET", LEGACY], "").await?;
    world.until_called(&mut child).await?;
    world.write("", &single(&new))?;
    world.end(child).await?.answer()?;
    world.check_calls(&[false, true])
}

async fn a_token_that_never_changes(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    world.patience(SHORT);
    let token = world.fetch(CORP);
    world.write("", &single(&token))?;
    world.fetch(CORP);
    for (calls, path) in [(1, CURRENT), (2, LEGACY)] {
        let started = Instant::now();
        let ended = world.run(&["POST", path], "{}").await?;
        ended.failed_with("DingTalk refused the access token, and no other came within")?;
        if started.elapsed().as_secs() < SHORT.into() {
            return Err("the program gave up too early".into());
        }
        world.check_calls(&vec![false; calls])?;
    }
    Ok(())
}

async fn each_corp_its_token_in_combined(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let (first, second) = (world.fetch(CORP), world.fetch(OTHER_CORP));
    world.write("", &combined(&[(CORP, &first), (OTHER_CORP, &second)]))?;
    each_corp_has_its_token(&world).await
}

async fn each_corp_its_token_in_per_corp(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    for corp_id in [CORP, OTHER_CORP] {
        let token = world.fetch(corp_id);
        world.write(corp_id, &single(&token))?;
    }
    each_corp_has_its_token(&world).await
}

async fn each_corp_has_its_token(world: &World) -> Result<(), Failure> {
    for corp_id in [CORP, OTHER_CORP] {
        let answer = world.run(&["GET", CURRENT, corp_id], "").await?.answer()?;
        check(&answer["corp_id"], &json!(corp_id))?;
    }
    Ok(())
}

async fn another_error_is_not_a_refusal(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let change = |settings: &mut Settings| settings.apis = Apis::Forbidden;
    world.stub.configure(change);
    let token = world.fetch(CORP);
    world.write("", &single(&token))?;
    let ended = world.run(&["POST", CURRENT], "{}").await?;
    ended.failed_with("Forbidden.AccessDenied.AccessTokenPermissionDenied")?;
    ended.failed_with("403")?;
    // The stub repeats the token in its error messages.
    ended.failed_with("the stub refuses the token ***")?;
    let ended = world.run(&["POST", LEGACY], "{}").await?;
    ended.failed_with("60011")?;
    ended.failed_with("the stub refuses the token ***")?;
    world.check_calls(&[true, true])
}

async fn a_page_instead_of_json(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let change = |settings: &mut Settings| settings.apis = Apis::Html;
    world.stub.configure(change);
    let token = world.fetch(CORP);
    world.write("", &single(&token))?;
    for path in [CURRENT, LEGACY] {
        world
            .run(&["GET", path], "")
            .await?
            .failed_with("no JSON")?;
    }
    world.check_calls(&[true, true])
}

async fn no_connection(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    world.url = Some(format!("http://{}", listener.local_addr()?));
    drop(listener);
    let token = world.fetch(CORP);
    world.write("", &single(&token))?;
    for path in [CURRENT, LEGACY] {
        world
            .run(&["GET", path], "")
            .await?
            .failed_with("127.0.0.1")?;
    }
    Ok(())
}

async fn no_token(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    world.hide("half a");
    world.write("", &single("half a\ntoken"))?;
    for (corp_id, text) in [
        (None, "no token in"),
        (Some("dingunknown"), "dingunknown.access_token"),
        (Some("../ding"), "corpId"),
    ] {
        let arguments = ["GET", CURRENT].into_iter().chain(corp_id);
        let arguments: Vec<&str> = arguments.collect();
        world.run(&arguments, "").await?.failed_with(text)?;
    }
    world.check_calls(&[])
}

async fn the_sdk_and_a_late_token(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let old = world.fetch(CORP);
    world.write("", &combined(&[(CORP, &old)]))?;
    let new = world.fetch(CORP);
    let mut child = world.start(&["张三", CORP], "").await?;
    world.until_called(&mut child).await?;
    sleep(LATE).await;
    world.check_calls(&[false])?;
    world.write("", &combined(&[(CORP, &new)]))?;
    world.end(child).await?.succeeded()?;
    world.check_calls(&[false, true])?;
    let call = world.last_call()?;
    check(call.method.as_str(), "POST")?;
    check(call.path.as_str(), "/v1.0/contact/users/search")?;
    let body: Value = serde_json::from_str(&call.body)?;
    check(&body["queryWord"], &json!("张三"))
}

async fn the_sdk_and_a_token_that_never_changes(
    program: &Program,
    folder: &Path,
) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    world.patience(SHORT);
    let token = world.fetch(CORP);
    world.write("", &single(&token))?;
    world.fetch(CORP);
    let ended = world.run(&["Li"], "").await?;
    ended.failed_with("DingTalk refused the access token, and no other came within")?;
    world.check_calls(&[false])
}

async fn the_sdk_and_another_error(program: &Program, folder: &Path) -> Result<(), Failure> {
    let mut world = World::new(program, folder).await?;
    let change = |settings: &mut Settings| settings.apis = Apis::Forbidden;
    world.stub.configure(change);
    let token = world.fetch(CORP);
    world.write("", &single(&token))?;
    let ended = world.run(&["Li"], "").await?;
    ended.failed_with("Forbidden.AccessDenied.AccessTokenPermissionDenied")?;
    world.check_calls(&[true])
}

fn check<T: PartialEq + std::fmt::Debug + ?Sized>(seen: &T, expected: &T) -> Result<(), Failure> {
    match seen == expected {
        true => Ok(()),
        false => Err(format!("expected {expected:?}, got {seen:?}").into()),
    }
}
