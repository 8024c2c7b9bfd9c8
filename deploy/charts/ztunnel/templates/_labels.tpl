{{/* Labels of every object. */}}
{{- define "ambit.labels" -}}
app: ztunnel
app.kubernetes.io/name: ztunnel
app.kubernetes.io/part-of: ambit
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.revision }}
istio.io/rev: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Reference of an image of ours: list of values and name. */}}
{{- define "ambit.image" -}}
{{- $values := index . 0 }}{{ $values.hub }}/{{ index . 1 }}:{{ $values.tag }}
{{- end }}
