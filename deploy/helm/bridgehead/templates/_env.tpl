{{/* Environment variables, for `${NAME}` in routes.yaml. */}}

{{/* (dict "name" … "secretName" … "key" …) */}}
{{- define "bridgehead.envFromSecret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secretName }}
      key: {{ .key }}
{{- end -}}

{{- define "bridgehead.env" -}}
{{- $secrets := .Values.secrets -}}
{{- $variables := list -}}
{{- with $secrets.natsToken -}}{{- if .secretName -}}
{{- $variables = append $variables (dict "name" "NATS_TOKEN" "secretName" .secretName "key" .key) -}}
{{- end -}}{{- end -}}
{{- with $secrets.natsUser -}}{{- if .secretName -}}
{{- $variables = append $variables (dict "name" "NATS_USER" "secretName" .secretName "key" .userKey) -}}
{{- $variables = append $variables (dict "name" "NATS_PASSWORD" "secretName" .secretName "key" .passwordKey) -}}
{{- end -}}{{- end -}}
{{- range concat $variables $secrets.env }}
{{ include "bridgehead.envFromSecret" . }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
