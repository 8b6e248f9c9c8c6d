//! The watch of Secrets, by their metadata.

use std::sync::Arc;

use futures::stream::select_all;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use tracing::info;

use super::backoff::with_backoff;
use super::report::report;
use crate::api::AppRef;
use crate::controller::context::Context;
use crate::controller::decoded::Decoded;
use crate::controller::scopes::Scope;
use crate::core::{Concerned, Reported};

/// Follows the metadata of the Secrets of each scope, once its apps are known.
pub(crate) async fn secrets(client: Client, scopes: Vec<Scope>, context: Arc<Context>) {
    let streams = scopes.into_iter().map(|scope| {
        let api: Api<Decoded<PartialObjectMeta<Secret>>> = match &scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let watch = watcher(api, watcher::Config::default());
        let watch = with_backoff(watch, &context.outages);
        let (context, listed) = (Arc::clone(&context), scope.clone());
        let watch = async move {
            // (A store reports its readiness to one waiter only, which is the controller.)
            context.scopes.until_apps_listed(&listed).await;
            watch
        };
        let events = watch.flatten_stream();
        events.map(move |event| (scope.clone(), event)).boxed()
    });
    let mut streams = select_all(streams);
    while let Some((scope, event)) = streams.next().await {
        let now = || context.clock.now();
        context.leadership.until_it_may_learn(now).await;
        secret_event(&context, &scope, event);
    }
}

/// Records a Secret's watch event and wakes the objects it concerns.
pub(crate) fn secret_event(
    context: &Context,
    scope: &Scope,
    event: watcher::Result<Event<Decoded<PartialObjectMeta<Secret>>>>,
) {
    let concerned = match event {
        Ok(Event::Apply(secret)) => {
            let reported = Reported::from(secret.into_metadata());
            context.core().secret_applied(reported)
        }
        Ok(Event::InitApply(secret)) => {
            let reported = Reported::from(secret.into_metadata());
            context.core().secret_in_list(reported)
        }
        Ok(Event::Delete(secret)) => context.core().secret_deleted(secret.meta()),
        Ok(Event::Init) => {
            context.core().index.secrets_listing(scope.as_deref());
            Concerned::default()
        }
        Ok(Event::InitDone) => {
            let mut core = context.core();
            let concerned = core.secrets_listed(scope.as_deref());
            if context.scopes.secrets_listed(scope) {
                info!(namespace = scope.as_deref(), "all objects listed; watching");
                let (apps, copies) = core.index.all();
                let is_listed = |app: &AppRef| scope.is_none() || app.namespace == *scope;
                context.wake_all(apps.into_iter().filter(is_listed));
                // Some of them copy from this scope.
                context.wake_all(copies);
            }
            concerned
        }
        Err(error) => {
            report(context, "secrets", scope, &error);
            Concerned::default()
        }
    };
    context.look_at(concerned);
}
