{{/* routes.yaml: what the values say, and the places of the Secrets. */}}

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
{{- fail (printf "%s must be a mapping" $path) -}}
{{- end -}}
{{- $at = get $at . -}}
{{- end -}}
{{- if hasKey $at .key -}}
{{- fail (printf "%s.%s is set by %s: leave one of the two out" $path .key .by) -}}
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

{{/* What a change of restarts the pods, by configRoll. */}}
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
{{- fail (printf "config.%s.listen: %q is not an address with a port, such as 0.0.0.0:8080 (ports and probes are made from it, so it takes nothing from the environment)" .section $listen) -}}
{{- end -}}
{{- if or (hasPrefix "127." $listen) (hasPrefix "[::1]" $listen) -}}
{{- fail (printf "config.%s.listen: %s is reached by nobody outside the pod; write 0.0.0.0:%s" .section $listen (regexFind "[0-9]+$" $listen)) -}}
{{- end -}}
{{- regexFind "[0-9]+$" $listen -}}
{{- end -}}

{{/* Mistakes that a gateway would refuse to start with, or that would only be found later. */}}
{{- define "bridgehead.checks" -}}
{{- $config := include "bridgehead.config" . | fromYaml -}}
{{- if hasKey $config "Error" -}}{{- fail $config.Error -}}{{- end -}}
{{- if not $config.auth -}}
{{- fail "config.auth is missing: say who judges logins: jwt (with secrets.jwtKeys, secrets.jwtSecret or a URL), rpc, or none: { insecure: true } to try things out" -}}
{{- end -}}
{{- $ports := list (include "bridgehead.port" (dict "config" $config "section" "edge")) (include "bridgehead.port" (dict "config" $config "section" "admin")) -}}
{{- if $config.push -}}
{{- $ports = append $ports (include "bridgehead.port" (dict "config" $config "section" "push")) -}}
{{- if not (or $config.push.tokens (dig "tls" "client_ca" "" $config.push)) -}}
{{- fail "the Push API needs to know its callers: name a Secret in secrets.pushTokens.secretName, or one in secrets.pushTls with clientCa, or have no Push API with config.push: null" -}}
{{- end -}}
{{- else -}}
{{- if or .Values.secrets.pushTokens.secretName .Values.secrets.pushTls.secretName -}}
{{- fail "secrets.pushTokens and secrets.pushTls are for the Push API, which config.push: null turns off" -}}
{{- end -}}
{{- end -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- fail (printf "the listeners of config.edge, push and admin need different ports, not %s" (join ", " $ports)) -}}
{{- end -}}
{{- $several := or (and .Values.autoscaling.enabled (gt (int .Values.autoscaling.maxReplicas) 1)) (and (not .Values.autoscaling.enabled) (gt (int .Values.replicaCount) 1)) -}}
{{- if and $several (not $config.cluster) -}}
{{- fail "several gateways need a cluster, or pushes would reach only the clients of one: nats.enabled, or config.cluster, or replicaCount: 1 without autoscaling" -}}
{{- end -}}
{{- if and $config.cluster (not $config.cluster.nats) -}}
{{- fail "config.cluster.nats is missing: say where NATS is, such as nats://nats:4222, or set nats.enabled" -}}
{{- end -}}
{{- if and .Values.nats.enabled (or .Values.secrets.natsCredentials.secretName .Values.secrets.natsUser.secretName .Values.secrets.natsTls.secretName) -}}
{{- fail "secrets.natsCredentials, natsUser and natsTls are for a NATS of your own; that of nats.enabled takes secrets.natsToken" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than maxReplicas" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (or .Values.autoscaling.cpu.averageUtilization .Values.autoscaling.sessions.averageValue)) -}}
{{- fail "autoscaling needs something to look at: cpu.averageUtilization or sessions.averageValue" -}}
{{- end -}}
{{- with .Values.podDisruptionBudget -}}
{{- if and .enabled (not (kindIs "invalid" .minAvailable)) (not (kindIs "invalid" .maxUnavailable)) -}}
{{- fail "podDisruptionBudget takes minAvailable or maxUnavailable, not both" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is missing: name the Gateway, such as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor and metrics.podMonitor would both scrape every gateway: enable one" -}}
{{- end -}}
{{- range $name := concat (keys .Values.files) (keys .Values.binaryFiles) -}}
{{- if eq $name "routes.yaml" -}}
{{- fail "files: routes.yaml is made from config" -}}
{{- end -}}
{{- end -}}
{{- end -}}
