{{/* routes.yaml: `config` of the values, and the paths of the Secrets. */}}

{{/* Sets a key that a Secret is for. (dict "config" … "section" [..] "key" … "value" … "by" …) */}}
{{- define "bridgehead.put" -}}
{{- $at := .config -}}
{{- $path := "config" -}}
{{- range .section -}}
{{- $path = printf "%s.%s" $path . -}}
{{- if kindIs "invalid" (get $at . | default nil) -}}
{{- $_ := set $at . dict -}}
{{- end -}}
{{- if not (kindIs "map" (get $at .)) -}}
{{- fail (printf "%s is not a mapping: expected keys and values below it" $path) -}}
{{- end -}}
{{- $at = get $at . -}}
{{- end -}}
{{- if hasKey $at .key -}}
{{- fail (printf "%s.%s is already set by %s: remove one of the two" $path .key .by) -}}
{{- end -}}
{{- $_ := set $at .key .value -}}
{{- end -}}

{{- define "bridgehead.secretsFolder" -}}
/etc/bridgehead/secrets
{{- end -}}

{{/* The configuration as YAML. */}}
{{- define "bridgehead.config" -}}
{{- $config := dict -}}
{{- range $section, $value := .Values.config -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $_ := set $config $section (deepCopy $value) -}}
{{- end -}}
{{- end -}}
{{- $folder := include "bridgehead.secretsFolder" . -}}
{{- $secrets := .Values.secrets -}}
{{- with $secrets.sessionKey -}}{{- if .secretName -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "session") "key" "private_key" "value" (printf "%s/session-key/%s" $folder .key) "by" "secrets.sessionKey") -}}
{{- end -}}{{- end -}}
{{- with $secrets.jwtKeys -}}{{- if .secretName -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "auth" "jwt") "key" "keys" "value" (printf "%s/jwt-keys/%s" $folder .key) "by" "secrets.jwtKeys") -}}
{{- end -}}{{- end -}}
{{- with $secrets.jwtSecret -}}{{- if .secretName -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "auth" "jwt") "key" "secret" "value" (printf "%s/jwt-secret/%s" $folder .key) "by" "secrets.jwtSecret") -}}
{{- end -}}{{- end -}}
{{- with $secrets.edgeTls -}}{{- if .secretName -}}
{{- $tls := dict "cert" (printf "%s/edge-tls/tls.crt" $folder) "key" (printf "%s/edge-tls/tls.key" $folder) -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "edge") "key" "tls" "value" $tls "by" "secrets.edgeTls") -}}
{{- end -}}{{- end -}}
{{- if $config.push -}}
{{- with $secrets.pushTls -}}{{- if .secretName -}}
{{- $tls := dict "cert" (printf "%s/push-tls/tls.crt" $folder) "key" (printf "%s/push-tls/tls.key" $folder) -}}
{{- if .clientCa -}}{{- $_ := set $tls "client_ca" (printf "%s/push-tls/ca.crt" $folder) -}}{{- end -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "push") "key" "tls" "value" $tls "by" "secrets.pushTls") -}}
{{- end -}}{{- end -}}
{{- with $secrets.pushTokens -}}{{- if .secretName -}}
{{- $tokens := list -}}
{{- range .keys -}}{{- $tokens = append $tokens (dict "token_file" (printf "%s/push-tokens/%s" $folder .)) -}}{{- end -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "push") "key" "tokens" "value" $tokens "by" "secrets.pushTokens") -}}
{{- end -}}{{- end -}}
{{- end -}}
{{- if .Values.nats.enabled -}}
{{- $url := printf "nats://%s:4222" (include "bridgehead.natsName" .) -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "cluster") "key" "nats" "value" $url "by" "nats.enabled") -}}
{{- end -}}
{{- with $secrets.natsCredentials -}}{{- if .secretName -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "cluster") "key" "credentials" "value" (printf "%s/nats-credentials/%s" $folder .key) "by" "secrets.natsCredentials") -}}
{{- end -}}{{- end -}}
{{- with $secrets.natsToken -}}{{- if .secretName -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "cluster") "key" "token" "value" "${NATS_TOKEN}" "by" "secrets.natsToken") -}}
{{- end -}}{{- end -}}
{{- with $secrets.natsUser -}}{{- if .secretName -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "cluster") "key" "user" "value" "${NATS_USER}" "by" "secrets.natsUser") -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "cluster") "key" "password" "value" "${NATS_PASSWORD}" "by" "secrets.natsUser") -}}
{{- end -}}{{- end -}}
{{- with $secrets.natsTls -}}{{- if .secretName -}}
{{- $tls := dict "ca" (printf "%s/nats-tls/ca.crt" $folder) -}}
{{- if .clientCert -}}
{{- $_ := set $tls "cert" (printf "%s/nats-tls/tls.crt" $folder) -}}
{{- $_ := set $tls "key" (printf "%s/nats-tls/tls.key" $folder) -}}
{{- end -}}
{{- include "bridgehead.put" (dict "config" $config "section" (list "cluster") "key" "tls" "value" $tls "by" "secrets.natsTls") -}}
{{- end -}}{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The input of the pods' checksum: a change of it restarts them. Depends on configRoll. */}}
{{- define "bridgehead.rollOn" -}}
{{- $config := include "bridgehead.config" . | fromYaml -}}
{{- if eq .Values.configRoll "whenNeeded" -}}
{{- toYaml (omit $config "upstreams" "auth" "hooks" "public_methods" "identity") -}}
{{- else -}}
{{- toYaml (dict "config" $config "files" .Values.files "binaryFiles" .Values.binaryFiles) -}}
{{- end -}}
{{- end -}}

{{/* The port of a listener. (dict "config" … "section" …) */}}
{{- define "bridgehead.port" -}}
{{- $listen := toString (get (get .config .section | default dict) "listen") -}}
{{- if not (regexMatch "^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$" $listen) -}}
{{- fail (printf "config.%s.listen: %q is not a listen address: expected an IP address and a port, such as 0.0.0.0:8080 (ports and probes are derived from it, so it cannot come from the environment)" .section $listen) -}}
{{- end -}}
{{- if or (hasPrefix "127." $listen) (hasPrefix "[::1]" $listen) -}}
{{- fail (printf "config.%s.listen: %s is a loopback address, which only the pod itself can reach: expected 0.0.0.0:%s" .section $listen (regexFind "[0-9]+$" $listen)) -}}
{{- end -}}
{{- regexFind "[0-9]+$" $listen -}}
{{- end -}}

{{/* Mistakes that a gateway would refuse to start with, or that would only be found later. */}}
{{- define "bridgehead.checks" -}}
{{- $config := include "bridgehead.config" . | fromYaml -}}
{{- if hasKey $config "Error" -}}{{- fail $config.Error -}}{{- end -}}
{{- if not $config.auth -}}
{{- fail "config.auth is missing: expected jwt (with secrets.jwtKeys, secrets.jwtSecret or the URL of a key set), rpc, or, for trials only, none: { insecure: true }" -}}
{{- end -}}
{{- $ports := list (include "bridgehead.port" (dict "config" $config "section" "edge")) (include "bridgehead.port" (dict "config" $config "section" "admin")) -}}
{{- if $config.push -}}
{{- $ports = append $ports (include "bridgehead.port" (dict "config" $config "section" "push")) -}}
{{- if not (or $config.push.tokens (dig "tls" "client_ca" "" $config.push)) -}}
{{- fail "the Push API cannot authenticate its callers: set secrets.pushTokens.secretName, or secrets.pushTls with clientCa, or turn the Push API off with config.push: null" -}}
{{- end -}}
{{- else -}}
{{- if or .Values.secrets.pushTokens.secretName .Values.secrets.pushTls.secretName -}}
{{- fail "secrets.pushTokens and secrets.pushTls have no effect, because config.push: null turns the Push API off: remove them" -}}
{{- end -}}
{{- end -}}
{{/* An error of `bridgehead check`, too. A value from the environment is left to the gateway. */}}
{{- if and (eq (toString $config.edge.proxy_protocol) "true") (not $config.edge.trusted_proxies) -}}
{{- fail "config.edge.proxy_protocol without config.edge.trusted_proxies refuses the connections of every load balancer: list the networks of your load balancers in config.edge.trusted_proxies, such as [10.0.0.0/8], or remove config.edge.proxy_protocol" -}}
{{- end -}}
{{- if or .Values.ingress.enabled .Values.httpRoute.enabled -}}
{{- range include "bridgehead.paths" $config | fromJsonArray -}}
{{- if contains "${" . -}}
{{- fail (printf "config.edge: the path %q comes from the environment: expected a path such as /ws (Ingress and HTTPRoute are made from it)" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.ingress.enabled -}}
{{- $ping := include "bridgehead.sessionSeconds" (dict "config" $config "key" "ping_interval" "default" "25s") -}}
{{- range $name, $seconds := include "bridgehead.ingressIdleTimeouts" . | fromJson -}}
{{- if and $ping (le (int64 $seconds) (int64 $ping)) -}}
{{- fail (printf "config.session.ping_interval of %s s is not shorter than the idle time-out of the Ingress, %d s (%s), so the Ingress would end idle sessions: expected a shorter ping_interval, or a longer ingress.idleTimeoutSeconds" $ping (int64 $seconds) $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- fail (printf "config.edge.listen, config.push.listen and config.admin.listen must have different ports: got %s" (join ", " $ports)) -}}
{{- end -}}
{{- $several := or (and .Values.autoscaling.enabled (gt (int .Values.autoscaling.maxReplicas) 1)) (and (not .Values.autoscaling.enabled) (gt (int .Values.replicaCount) 1)) -}}
{{- if and $several (not $config.cluster) -}}
{{- fail "several gateways need a cluster: without one, a push reaches only the clients of the gateway that received it. Set nats.enabled or config.cluster, or run one gateway with replicaCount: 1 and without autoscaling" -}}
{{- end -}}
{{- if and $config.cluster (not $config.cluster.nats) -}}
{{- fail "config.cluster.nats is missing: expected the URL of a NATS server, such as nats://nats:4222, or nats.enabled: true" -}}
{{- end -}}
{{- if and .Values.nats.enabled (or .Values.secrets.natsCredentials.secretName .Values.secrets.natsUser.secretName .Values.secrets.natsTls.secretName) -}}
{{- fail "secrets.natsCredentials, secrets.natsUser and secrets.natsTls are for an external NATS: the NATS servers of this chart (nats.enabled) support only secrets.natsToken" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is greater than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (or .Values.autoscaling.cpu.averageUtilization .Values.autoscaling.sessions.averageValue)) -}}
{{- fail "autoscaling has no metric: set autoscaling.cpu.averageUtilization or autoscaling.sessions.averageValue" -}}
{{- end -}}
{{- with .Values.podDisruptionBudget -}}
{{- if and .enabled (not (kindIs "invalid" .minAvailable)) (not (kindIs "invalid" .maxUnavailable)) -}}
{{- fail "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable are both set: Kubernetes accepts only one of them" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is missing: expected the Gateway of the route, such as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor and metrics.podMonitor are both enabled, so Prometheus would scrape every gateway twice: enable one of them" -}}
{{- end -}}
{{- range $name := concat (keys .Values.files) (keys .Values.binaryFiles) -}}
{{- if eq $name "routes.yaml" -}}
{{- fail "files and binaryFiles must not contain routes.yaml: the chart generates it from config" -}}
{{- end -}}
{{- end -}}
{{- end -}}
