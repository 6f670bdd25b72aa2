{{/* Labels of every object that is not a file's. Call with a dict of `context` and `component`. */}}
{{- define "sluice.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name (.context.Chart.Version | replace "+" "_") }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
app.kubernetes.io/part-of: sluice
{{ include "sluice.selector" . }}
{{- end }}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Call with a dict of `context` and `repository`. */}}
{{- define "sluice.image" -}}
{{- $image := .context.Values.image -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .repository }}:{{ $image.tag | default .context.Chart.AppVersion }}
{{- end }}

{{/* URL of the API server; empty where pods are told the right one. */}}
{{- define "sluice.apiServer" -}}
{{- with .Values.apiServer -}}
{{- if not .fromService -}}
{{- $host := .host -}}
{{- if contains ":" $host -}}{{- $host = printf "[%s]" (trimAll "[]" $host) -}}{{- end -}}
https://{{ $host }}:{{ .port }}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
The same for a pod that is not in the node's network: its localhost is its own. Where nodes reach the API server by theirs, agents serve the Service
`kubernetes` all the same, so such a pod goes by that.
*/}}
{{- define "sluice.apiServer.fromPodNetwork" -}}
{{- if not (regexMatch "^(localhost|127(\\.[0-9]+){3}|\\[?::1\\]?)$" .Values.apiServer.host) -}}
{{- include "sluice.apiServer" . -}}
{{- end -}}
{{- end }}

{{- define "sluice.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
