//! Made-up figures for the picture of the dashboard: six hours of five apps, the last of which begins to fail.

/// The minutes that the picture shows. The last one is now.
pub(super) const MINUTES: i32 = 360;
/// When DingTalk begins to refuse the operator's address for an app.
const FAILING: i32 = 335;
/// Age of a token when it is due for renewal, in minutes.
const DUE: i32 = 80;

/// An app: its namespace, its name, and the age of its token at the beginning.
type App = (&'static str, &'static str, i32);

const APPS: [App; 5] = [
    ("hr", "payroll", 0),
    ("hr", "attendance", 25),
    ("finance", "invoices", 50),
    ("sales", "crm", 10),
    // Due when it begins to fail.
    ("support", "helpdesk", 65),
];

/// A line of a panel.
pub(super) struct Line {
    /// As in `name=payroll reason=`.
    labels: String,
    /// Minutes since the beginning, and the values then.
    pub(super) points: Vec<(i32, f64)>,
}

impl Line {
    /// Returns its name, from Grafana's format of a legend.
    pub(super) fn name(&self, format: &str) -> String {
        let labels = self.labels.split(' ');
        let labels = labels.filter_map(|label| label.split_once('='));
        let name = labels.fold(format.to_owned(), |name, (label, value)| {
            name.replace(&format!("{{{{{label}}}}}"), value)
        });
        name.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Returns the figure of a panel that shows one.
pub(super) fn figure(title: &str) -> Option<f64> {
    Some(match title {
        "Leader" => 1.0,
        "Least validity left" => 900.0,
        "Apps with a token" => 5.0,
        "Apps not ready" | "References not ready" | "Tokens at risk" => 0.0,
        "Version" => 2.0,
        _ => return None,
    })
}

/// Returns the lines of a panel's target.
pub(super) fn lines(title: &str, target: &str) -> Option<Vec<Line>> {
    Some(match (title, target) {
        ("Validity left, the ten least", "A") => of_apps(|age| seconds(120 - age)),
        ("Time to the next attempt, the ten nearest", "A") => {
            of_apps(|age| seconds(next_attempt(age) - age))
        }
        ("Tokens fetched by app, the ten most in an hour", "A") => {
            of_apps(|age| f64::from(age < 60))
        }
        ("Failing for", "A") => {
            let labels = "namespace=support name=helpdesk corp_id= reason=IpNotAllowed";
            vec![line(labels, FAILING, |at| seconds(at - FAILING))]
        }
        ("Token requests", "A") => vec![
            line("cause=RenewalDue outcome=success reason=", 0, renewals),
            line(
                "cause=RetryDue outcome=failure reason=IpNotAllowed",
                FAILING,
                |at| f64::from([FAILING + 5, FAILING + 15].contains(&at)) / 60.0,
            ),
        ],
        ("Token request duration", "A") => vec![wave("site=china", 0.08, 95)],
        ("Token request duration", "B") => vec![wave("site=china", 0.17, 130)],
        ("Waiting for the limits", "A") => vec![line("", 0, |_| 0.0)],
        ("Wait for the limits", "A") => vec![wave("", 0.004, 170)],
        ("Secret writes", "A") => {
            let labels = "kind=DingTalkApp cause=RenewalDue outcome=success reason=";
            vec![line(labels, 0, renewals)]
        }
        ("Secret write duration", "A") => vec![wave("", 0.024, 115)],
        ("Time since each watch was answered", "A") => vec![
            wave("resource=dingtalkapps", 28.0, 75),
            wave("resource=dingtalktokenreferences", 36.0, 110),
            wave("resource=secrets", 22.0, 60),
        ],
        ("Clock of the site minus ours", "A") => vec![wave("site=china", 0.15, 240)],
        _ => return None,
    })
}

fn line(labels: &str, from: i32, value: impl Fn(i32) -> f64) -> Line {
    let minutes = (from..=MINUTES).step_by(5);
    Line {
        labels: labels.to_owned(),
        points: minutes.map(|minute| (minute, value(minute))).collect(),
    }
}

/// Returns a line that swings around the middle. It does without `sin`, whose last digits depend on the machine.
fn wave(labels: &str, middle: f64, period: i32) -> Line {
    line(labels, 0, |minute| {
        let part = f64::from(minute % period) / f64::from(period) * 2.0 - 1.0;
        middle * (1.0 + part * (1.0 - part.abs()))
    })
}

/// Returns a line for each app, from the age of its token.
fn of_apps(value: impl Fn(i32) -> f64) -> Vec<Line> {
    let lines = APPS.iter().map(|app| {
        let (namespace, name, _) = app;
        let labels = format!("namespace={namespace} name={name} corp_id=");
        line(&labels, 0, |minute| value(age(app, minute)))
    });
    lines.collect()
}

fn age(app: &App, minute: i32) -> i32 {
    let (_, name, at_first) = app;
    match *name == "helpdesk" && minute >= FAILING {
        true => DUE + minute - FAILING,
        false => (minute + at_first) % DUE,
    }
}

/// Returns the age that a token has at its next attempt. Retries come after 5 minutes, then 10, then 20.
fn next_attempt(age: i32) -> i32 {
    let attempts = [DUE, DUE + 5, DUE + 15, DUE + 35];
    attempts.into_iter().find(|at| *at > age).unwrap_or(age)
}

/// Returns the renewals a second.
fn renewals(minute: i32) -> f64 {
    let renewed = APPS.iter().map(|app| f64::from(age(app, minute) == 0));
    renewed.sum::<f64>() / 60.0
}

fn seconds(minutes: i32) -> f64 {
    f64::from(minutes) * 60.0
}
