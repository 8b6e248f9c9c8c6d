//! Verdicts on the connection to a site.

use std::net::IpAddr;

use jiff::SignedDuration;

use super::verdict::Verdict;
use crate::dingtalk::{Probe, Step, Unreached};

/// Maximum difference between the clocks. Renewals, and the signatures of other APIs, depend on the clock.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(30);

/// Results of connecting to a site.
#[derive(Debug)]
pub(super) struct SiteFacts {
    pub name: String,
    /// Host and port of the proxy or, if there is none, of the site.
    pub peer: String,
    /// URL of the proxy, without credentials.
    pub proxy: Option<String>,
    pub addresses: Result<Vec<IpAddr>, String>,
    /// Address that accepted a connection; `None` if none was tried.
    pub connected: Option<Result<IpAddr, String>>,
    pub is_tls: bool,
    /// Response to a request without credentials; `None` if none was sent.
    pub answer: Option<Result<Probe, Unreached>>,
}

/// Returns the verdicts on a site, in the order of the steps of a connection.
pub(super) fn judge(facts: &SiteFacts) -> Vec<Verdict> {
    let subject = |step: &str| format!("site {}, {step}", facts.name);
    vec![
        proxy(facts, &subject("proxy")),
        addresses(facts, &subject("DNS")),
        connection(facts, &subject("TCP")),
        tls(facts, &subject("TLS")),
        answer(facts, &subject("HTTP")),
        clock(facts, &subject("clock")),
    ]
}

fn proxy(facts: &SiteFacts, subject: &str) -> Verdict {
    match &facts.proxy {
        None => Verdict::ok(subject, "none is set for this site"),
        Some(proxy) => Verdict::ok(subject, format!("{proxy}, from the environment")),
    }
}

fn addresses(facts: &SiteFacts, subject: &str) -> Verdict {
    let peer = &facts.peer;
    match &facts.addresses {
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            Verdict::ok(subject, format!("{peer} is {}", addresses.join(", ")))
        }
        Err(error) => Verdict::fails(
            subject,
            format!("{peer}: {error}"),
            "check the host name in --site or HTTPS_PROXY, and the cluster's DNS: a NetworkPolicy must allow \
             port 53",
        ),
    }
}

fn connection(facts: &SiteFacts, subject: &str) -> Verdict {
    match &facts.connected {
        None => Verdict::not_checked(subject, "there is no address to connect to", ""),
        Some(Ok(address)) => Verdict::ok(subject, format!("connected to {address}")),
        Some(Err(error)) => Verdict::fails(
            subject,
            format!("{}: {error}", facts.peer),
            "check the NetworkPolicy and the egress firewall; if there is a proxy, set HTTPS_PROXY",
        ),
    }
}

fn tls(facts: &SiteFacts, subject: &str) -> Verdict {
    if !facts.is_tls {
        let advice = "use https for a real site: http exposes the Client Secret";
        return Verdict::warn(subject, "the site's URL uses http", advice);
    }
    match &facts.answer {
        None => Verdict::not_checked(subject, "there is no connection", ""),
        Some(Ok(_)) => Verdict::ok(subject, "the certificate is trusted"),
        Some(Err(unreached)) if unreached.step == Step::Tls => Verdict::fails(
            subject,
            &unreached.message,
            "if a proxy or gateway of your own terminates TLS, trust its CA with --ca-bundle; otherwise, \
             another server may be impersonating the site",
        ),
        Some(Err(unreached)) if unreached.step == Step::Answer => {
            Verdict::ok(subject, "the handshake succeeded")
        }
        Some(Err(unreached)) => Verdict::not_checked(subject, &unreached.message, ""),
    }
}

fn answer(facts: &SiteFacts, subject: &str) -> Verdict {
    match &facts.answer {
        None => Verdict::not_checked(subject, "there is no connection", ""),
        Some(Err(unreached)) if unreached.step == Step::Tls => {
            Verdict::not_checked(subject, "there is no TLS connection", "")
        }
        Some(Err(unreached)) => Verdict::fails(
            subject,
            &unreached.message,
            "check the site's URL, the proxy, and any device that inspects traffic",
        ),
        Some(Ok(probe)) => {
            let said = format!("GET / without credentials returned {}", probe.status);
            match probe.status {
                407 => Verdict::fails(
                    subject,
                    said,
                    "the proxy requires credentials: set them in HTTPS_PROXY",
                ),
                300..=399 => Verdict::warn(
                    subject,
                    said,
                    "a portal or gateway may be responding instead of the site; the operator does not follow \
                     redirects",
                ),
                500..=599 => Verdict::warn(
                    subject,
                    said,
                    "the site, or a gateway in front of it, has a problem; the operator retries automatically",
                ),
                _ => Verdict::ok(subject, said),
            }
        }
    }
}

fn clock(facts: &SiteFacts, subject: &str) -> Verdict {
    let Some(Ok(probe)) = &facts.answer else {
        return Verdict::not_checked(subject, "there is no response", "");
    };
    let Some(difference) = probe.clock_difference else {
        return Verdict::not_checked(subject, "the response has no Date header", "");
    };
    let seconds = difference.abs().as_secs();
    if difference.abs() <= CLOCK_TOLERANCE {
        return Verdict::ok(subject, format!("{seconds} s from the site's"));
    }
    let direction = match difference.is_negative() {
        true => "ahead of",
        false => "behind",
    };
    let said = format!("this machine's clock is {seconds} s {direction} the site's");
    let advice = "synchronise the node's clock, for example with chrony";
    Verdict::warn(subject, said, advice)
}

#[cfg(test)]
mod tests {
    use super::super::verdict::State;
    use super::*;

    fn facts() -> SiteFacts {
        SiteFacts {
            name: "china".to_owned(),
            peer: "api.dingtalk.com:443".to_owned(),
            proxy: None,
            addresses: Ok(vec![[192, 0, 2, 1].into()]),
            connected: Some(Ok([192, 0, 2, 1].into())),
            is_tls: true,
            answer: Some(Ok(Probe {
                status: 404,
                clock_difference: Some(SignedDuration::from_secs(-2)),
            })),
        }
    }

    fn states(facts: &SiteFacts) -> Vec<State> {
        judge(facts).into_iter().map(|it| it.state).collect()
    }

    fn failed(step: Step) -> Result<Probe, Unreached> {
        let message = "why".to_owned();
        Err(Unreached { step, message })
    }

    #[test]
    fn a_site_that_answers_is_well_whatever_it_answers() {
        use State::{Fails, Ok as Well, Warn};
        assert_eq!(states(&facts()), [Well; 6]);
        for (status, state) in [
            (200, Well),
            (403, Well),
            (302, Warn),
            (503, Warn),
            (407, Fails),
        ] {
            let mut facts = facts();
            facts.answer = Some(Ok(Probe {
                status,
                clock_difference: None,
            }));
            assert_eq!(states(&facts)[4], state, "{status}");
            assert_eq!(states(&facts)[5], State::NotChecked);
        }
    }

    #[test]
    fn the_first_step_that_fails_is_named_and_what_follows_is_not_checked() {
        use State::{Fails, NotChecked, Ok as Well};
        let mut facts = facts();
        facts.answer = Some(failed(Step::Tls));
        assert_eq!(
            states(&facts),
            [Well, Well, Well, Fails, NotChecked, NotChecked]
        );
        facts.answer = Some(failed(Step::Answer));
        assert_eq!(states(&facts), [Well, Well, Well, Well, Fails, NotChecked]);
        facts.answer = None;
        facts.connected = Some(Err("refused".to_owned()));
        assert_eq!(
            states(&facts),
            [Well, Well, Fails, NotChecked, NotChecked, NotChecked]
        );
        facts.connected = None;
        facts.addresses = Err("no such name".to_owned());
        let expected = [Well, Fails, NotChecked, NotChecked, NotChecked, NotChecked];
        assert_eq!(states(&facts), expected);
        for verdict in judge(&facts).iter().filter(|it| it.state == Fails) {
            assert!(!verdict.advice.is_empty(), "{verdict:?}");
        }
    }

    #[test]
    fn a_clock_that_differs_by_more_than_half_a_minute_is_said_with_its_direction() {
        for (seconds, said) in [
            (30, "30 s from"),
            (-31, "31 s ahead of"),
            (3600, "3600 s behind"),
        ] {
            let mut facts = facts();
            let clock_difference = Some(SignedDuration::from_secs(seconds));
            facts.answer = Some(Ok(Probe {
                status: 200,
                clock_difference,
            }));
            let verdict = judge(&facts).remove(5);
            assert!(verdict.message.contains(said), "{verdict:?}");
            let state = if seconds == 30 {
                State::Ok
            } else {
                State::Warn
            };
            assert_eq!(verdict.state, state);
        }
    }

    #[test]
    fn plain_http_is_a_warning_and_a_proxy_is_named() {
        let mut facts = facts();
        facts.is_tls = false;
        facts.proxy = Some("http://proxy.example:3128".to_owned());
        assert_eq!(states(&facts)[3], State::Warn);
        assert!(judge(&facts)[0].message.contains("proxy.example:3128"));
    }
}
