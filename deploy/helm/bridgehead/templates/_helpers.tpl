{{/* Names, labels and images. */}}

{{- define "bridgehead.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters: the longest suffix is "-nats-headless", of 63. */}}
{{- define "bridgehead.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains (include "bridgehead.name" .) .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "bridgehead.name" .) | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "bridgehead.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ include "bridgehead.name" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The labels that select the gateways' pods. They must not change: the selector of a Deployment is immutable. */}}
{{- define "bridgehead.selectorLabels" -}}
app.kubernetes.io/name: {{ include "bridgehead.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "bridgehead.natsSelectorLabels" -}}
app.kubernetes.io/name: {{ include "bridgehead.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: nats
{{- end -}}

{{- define "bridgehead.natsName" -}}
{{ include "bridgehead.fullname" . }}-nats
{{- end -}}

{{- define "bridgehead.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "bridgehead.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* An image reference of (dict "image" … "tag" …). */}}
{{- define "bridgehead.imageOf" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .tag) -}}
{{- end -}}
{{- end -}}

{{- define "bridgehead.image" -}}
{{- include "bridgehead.imageOf" (dict "image" .Values.image "tag" .Chart.AppVersion) -}}
{{- end -}}

{{/* Spread over nodes, and with "zones" over zones, where possible. */}}
{{- define "bridgehead.spread" -}}
{{- $labels := .labels -}}
{{- range .keys }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- $labels | nindent 6 }}
{{- end }}
{{- end -}}

{{/* A duration of routes.yaml in whole seconds, rounded up. (dict "of" … "text" … "why" …) */}}
{{- define "bridgehead.seconds" -}}
{{- $text := toString .text -}}
{{- if not (regexMatch "^[0-9]+(ms|s|m|h|d)( ?[0-9]+(ms|s|m|h|d))*$" $text) -}}
{{- fail (printf "%s: %q is not a duration: expected numbers with units, such as 5s or 1m30s%s" .of $text (.why | default "")) -}}
{{- end -}}
{{- $ms := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h|d)" $text -1 -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $ms = add $ms (mul $number (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000) $unit)) -}}
{{- end -}}
{{- div (add $ms 999) 1000 -}}
{{- end -}}

{{/* How long the gateway drains by routes.yaml: delay and period, in seconds. */}}
{{- define "bridgehead.drainSeconds" -}}
{{- $drain := .Values.config.drain | default dict -}}
{{- $why := " (the grace period is computed from it, so it cannot come from the environment)" -}}
{{- $delay := include "bridgehead.seconds" (dict "of" "config.drain.delay" "text" ($drain.delay | default "5s") "why" $why) | int64 -}}
{{- $period := include "bridgehead.seconds" (dict "of" "config.drain.period" "text" ($drain.period | default "20s") "why" $why) | int64 -}}
{{- add $delay $period -}}
{{- end -}}

{{/* Behind them calls in flight may take 10 s, goodbyes 4 s and hooks 5 s, and leaving the cluster
     and the Push API's callers 2 s each; 5 s are to spare. */}}
{{- define "bridgehead.stopSeconds" -}}
{{- add (include "bridgehead.drainSeconds" . | int64) 10 4 5 2 2 5 (int64 .Values.preStopSleepSeconds) -}}
{{- end -}}

{{- define "bridgehead.gracePeriod" -}}
{{- $needed := include "bridgehead.stopSeconds" . | int64 -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- $needed -}}
{{- else if lt (int64 $given) $needed -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is too short: expected at least %d s, for config.drain, preStopSleepSeconds and the shutdown after them, or null to have it computed" (int64 $given) $needed) -}}
{{- else -}}
{{- int64 $given -}}
{{- end -}}
{{- end -}}

{{/* The paths that clients connect at, as a list in JSON; takes the configuration. */}}
{{- define "bridgehead.paths" -}}
{{- if .edge.paths -}}
{{- keys .edge.paths | sortAlpha | toJson -}}
{{- else -}}
{{- list (.edge.path | default "/ws") | toJson -}}
{{- end -}}
{{- end -}}
