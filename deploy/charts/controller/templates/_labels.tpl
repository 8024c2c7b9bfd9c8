{{/* Name of an object in this revision: list of the root and the name in the default one. */}}
{{- define "ambit.name" -}}
{{- index . 1 }}{{ with (index . 0).Values.revision }}-{{ . }}{{ end }}
{{- end }}

{{/* Labels of every object. Those of another revision are an app of their own. */}}
{{- define "ambit.labels" -}}
app: {{ include "ambit.name" (list . "ambit-controller") }}
{{- with .Values.revision }}
istio.io/rev: {{ . | quote }}
{{- end }}
app.kubernetes.io/name: ambit-controller
app.kubernetes.io/part-of: ambit
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* Reference of an image of ours: list of values and name. */}}
{{- define "ambit.image" -}}
{{- $values := index . 0 }}{{ $values.hub }}/{{ index . 1 }}:{{ $values.tag }}
{{- end }}
