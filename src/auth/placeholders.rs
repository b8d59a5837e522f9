//! The placeholders of a callout's request, and their values.

use super::Login;

type Source = for<'a> fn(&Login<'a>) -> &'a str;

const SOURCES: [(&str, Source); 13] = [
    ("user_id", |login| login.user_id),
    ("token", |login| login.token),
    ("platform", |login| login.platform),
    ("device_id", |login| login.device_id),
    ("device_model", |login| login.device_model),
    ("os_version", |login| login.os_version),
    ("app_version", |login| login.app_version),
    ("package_id", |login| login.package_id),
    ("language", |login| login.language),
    ("network_used", |login| login.network_used),
    ("remote_ip", |login| login.remote_ip),
    ("user_agent", |login| login.user_agent),
    ("session_id", |login| login.session_id),
];

impl<'a> Login<'a> {
    /// The placeholders that stand for something of a login: the names of its texts.
    pub fn placeholders() -> impl Iterator<Item = &'static str> {
        SOURCES.iter().map(|(name, _)| *name)
    }

    /// The value of a placeholder; empty for an unknown one.
    pub fn value(&self, placeholder: &str) -> &'a str {
        let source = SOURCES.iter().find(|(name, _)| *name == placeholder);
        source.map_or("", |(_, source)| source(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_login_has_its_placeholder() {
        let login = Login {
            user_id: "42",
            token: "t0ken",
            platform: "IOS",
            device_id: "d1",
            device_model: "model",
            os_version: "17",
            app_version: "1.2",
            package_id: "pkg",
            language: "zh",
            network_used: "wifi",
            remote_ip: "192.0.2.1",
            user_agent: "okhttp",
            session_id: "s1",
            connected_at: 1,
            worker: 0,
        };
        let values: Vec<_> = Login::placeholders().map(|name| login.value(name)).collect();
        let expected = "42 t0ken IOS d1 model 17 1.2 pkg zh wifi 192.0.2.1 okhttp s1";
        assert_eq!(values.join(" "), expected);
        assert_eq!(login.value("close_code"), "");
    }
}
