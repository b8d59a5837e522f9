"""Configurations for gateways under test."""

PROBE_ROUTES = {
    "/v1/probe/echo": "probe.Probe/Echo",
    "/v1/probe/echoSnake": "probe.Probe/EchoSnake",
    "/v1/probe/echoBare": "probe.Probe/EchoBare",
    "/v1/probe/white/echo": "probe.Probe/Echo",
    "/v1/probe/white/work": "probe.Probe/Work",
    "/v1/probe/fail": "probe.Probe/Fail",
    "/v1/probe/judge": "probe.Probe/Judge",
    "/v1/probe/work": "probe.Probe/Work",
    "/v1/probe/look": "probe.Probe/Look",
    "/v1/probe/count": "probe.Probe/Count",
}

# The Push API, open to everybody on this machine.
PUSH = {"listen": "127.0.0.1:0"}


def probe_upstream(services, **settings):
    """The upstream of the probe services; a setting of None is left out."""
    upstream = {
        "address": services.address,
        "descriptors": "reflection",
        "routes": dict(PROBE_ROUTES),
        **settings,
    }
    return {key: value for key, value in upstream.items() if value is not None}


def gateway_config(services, *, upstream=None, upstreams=None, edge=None, session=None, **sections):
    """A configuration that fronts the probe services and believes every token.

    `upstream` adds to the probe upstream, `edge` and `session` to those sections; any other
    section is taken as it is.
    """
    return {
        "edge": {"listen": "127.0.0.1:0", **(edge or {})},
        # Tests open many sessions of one device.
        "session": {"one_session_per": "none", **(session or {})},
        "auth": {"none": {}},
        "upstreams": {"probe": probe_upstream(services, **(upstream or {})), **(upstreams or {})},
        "drain": {"delay": "0s", "period": "0s"},
        "log": {"format": "json", "level": "debug"},
        **sections,
    }
