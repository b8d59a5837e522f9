{{/* Annotations for Ingress controllers: connections that live for hours, and TLS to the gateway. */}}

{{/* The annotations of the Ingress: those of the controller, and over them `ingress.annotations`. */}}
{{- define "bridgehead.ingressAnnotations" -}}
{{- $config := include "bridgehead.config" . | fromYaml -}}
{{- $admin := include "bridgehead.port" (dict "config" $config "section" "admin") -}}
{{- $tls := not (empty $config.edge.tls) -}}
{{- $idle := int64 .Values.ingress.idleTimeoutSeconds | toString -}}
{{- $set := dict -}}
{{- if eq .Values.ingress.controller "nginx" -}}
{{- $_ := set $set "nginx.ingress.kubernetes.io/proxy-read-timeout" $idle -}}
{{- $_ := set $set "nginx.ingress.kubernetes.io/proxy-send-timeout" $idle -}}
{{- if $tls -}}{{- $_ := set $set "nginx.ingress.kubernetes.io/backend-protocol" "HTTPS" -}}{{- end -}}
{{- else if eq .Values.ingress.controller "haproxy" -}}
{{/* Its idle time-out is `timeout-tunnel` of the controller's ConfigMap; on an Ingress it has no effect. */}}
{{- if $tls -}}{{- $_ := set $set "haproxy.org/server-ssl" "true" -}}{{- end -}}
{{- else if eq .Values.ingress.controller "haproxy-ingress" -}}
{{- $_ := set $set "haproxy-ingress.github.io/timeout-tunnel" (printf "%ss" $idle) -}}
{{- if $tls -}}{{- $_ := set $set "haproxy-ingress.github.io/secure-backends" "true" -}}{{- end -}}
{{- else if eq .Values.ingress.controller "alb" -}}
{{- $_ := set $set "alb.ingress.kubernetes.io/target-type" "ip" -}}
{{- $_ := set $set "alb.ingress.kubernetes.io/load-balancer-attributes" (printf "idle_timeout.timeout_seconds=%d" (min (int64 $idle) 4000)) -}}
{{- $_ := set $set "alb.ingress.kubernetes.io/healthcheck-protocol" "HTTP" -}}
{{- $_ := set $set "alb.ingress.kubernetes.io/healthcheck-port" $admin -}}
{{- $_ := set $set "alb.ingress.kubernetes.io/healthcheck-path" "/readyz" -}}
{{- if $tls -}}{{- $_ := set $set "alb.ingress.kubernetes.io/backend-protocol" "HTTPS" -}}{{- end -}}
{{- end -}}
{{- mergeOverwrite $set (deepCopy .Values.ingress.annotations) | toYaml -}}
{{- end -}}

{{/* The annotations of the clients' Service: Traefik reads there how to reach the pods, where
     other controllers read the Ingress. `service.client.annotations` win. */}}
{{- define "bridgehead.clientServiceAnnotations" -}}
{{- $config := include "bridgehead.config" . | fromYaml -}}
{{- $set := dict -}}
{{- if and .Values.ingress.enabled (eq .Values.ingress.controller "traefik") -}}
{{/* Always set: without it, Traefik takes port 443 of a Service for TLS. */}}
{{- $_ := set $set "traefik.ingress.kubernetes.io/service.serversscheme" (empty $config.edge.tls | ternary "http" "https") -}}
{{- with .Values.ingress.serversTransport -}}
{{- $_ := set $set "traefik.ingress.kubernetes.io/service.serverstransport" . -}}
{{- end -}}
{{- end -}}
{{- mergeOverwrite $set (deepCopy .Values.service.client.annotations) | toYaml -}}
{{- end -}}

{{/* The idle time-outs in the annotations of the Ingress, in seconds, by annotation, as JSON. */}}
{{- define "bridgehead.ingressIdleTimeouts" -}}
{{- $found := dict -}}
{{- range $name, $value := include "bridgehead.ingressAnnotations" . | fromYaml -}}
{{- if regexMatch "^nginx\\.ingress\\.kubernetes\\.io/proxy-(read|send)-timeout$" $name -}}
{{- if regexMatch "^[0-9]+$" $value -}}
{{- $_ := set $found $name (int64 $value) -}}
{{- end -}}
{{- else if eq $name "haproxy-ingress.github.io/timeout-tunnel" -}}
{{- if regexMatch "^[0-9]+(ms|s|m|h|d)$" $value -}}
{{- $_ := set $found $name (include "bridgehead.seconds" (dict "of" $name "text" $value) | int64) -}}
{{- end -}}
{{- else if eq $name "alb.ingress.kubernetes.io/load-balancer-attributes" -}}
{{- with regexFind "idle_timeout\\.timeout_seconds=[0-9]+" $value -}}
{{- $_ := set $found $name (regexFind "[0-9]+$" . | int64) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* A duration of `config.session` in seconds; empty if it comes from the environment. (dict "config" … "key" … "default" …) */}}
{{- define "bridgehead.sessionSeconds" -}}
{{- $text := get (.config.session | default dict) .key | default .default | toString -}}
{{- if not (contains "${" $text) -}}
{{- include "bridgehead.seconds" (dict "of" (printf "config.session.%s" .key) "text" $text) -}}
{{- end -}}
{{- end -}}
