{{- define "parlando.labels" -}}
app.kubernetes.io/name: parlando
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "parlando.meta" -}}
name: {{ .root.Release.Name }}-{{ .name | default .component }}
labels:
  {{- include "parlando.labels" . | nindent 2 }}
  {{- with .variant }}
  parlando/variant: {{ . }}
  {{- end }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "parlando.selector" -}}
{{ include "parlando.labels" . }}
{{- with .variant }}
parlando/variant: {{ . }}
{{- end }}
{{- end }}

{{- define "parlando.image" -}}
{{- $image := .root.Values.image -}}
{{ with $image.registry }}{{ . }}/{{ end }}{{ $image.prefix }}{{ .image }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "parlando.keysSecret" -}}
{{- $auth := .Values.auth -}}
{{- if not (or $auth.apiKeys $auth.existingSecret) }}{{ fail "Set auth.apiKeys or auth.existingSecret: without keys a gateway serves its own pod only" }}{{ end -}}
{{ $auth.existingSecret | default (printf "%s-keys" .Release.Name) }}
{{- end }}

{{/* A value as a quoted string; JSON writes the number 1000000 without an exponent. */}}
{{- define "parlando.text" -}}
{{ kindIs "string" . | ternary . (toJson .) | quote }}
{{- end }}

{{- define "parlando.env" -}}
{{- $values := .root.Values }}
- name: REDIS_URL
  {{- if $values.redis.enabled }}
  value: redis://{{ .root.Release.Name }}-redis:6379/0
  {{- else }}
  valueFrom: {secretKeyRef: {name: {{ required "Set redis.external.existingSecret: a secret with the key REDIS_URL" $values.redis.external.existingSecret }}, key: REDIS_URL}}
  {{- end }}
- {name: PARTITIONS, value: {{ $values.partitions | quote }}}
- {name: LOG_FORMAT, value: json}
{{- range $name, $value := merge (dict) (.env | default dict) $values.env }}
- {name: {{ $name }}, value: {{ include "parlando.text" $value }}}
{{- end }}
{{- if .blobs }}
- {name: BLOB_URL, value: {{ $values.blobs.url | default "/blobs" | quote }}}
{{- with $values.blobs.endpoint }}
- {name: BLOB_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with $values.blobs.existingSecret }}
- name: BLOB_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ . }}, key: BLOB_ACCESS_KEY_ID}}
- name: BLOB_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: BLOB_SECRET_ACCESS_KEY}}
{{- end }}
{{- end }}
{{- end }}

{{- define "parlando.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid | default 10001 }}
  runAsGroup: {{ .uid | default 10001 }}
  fsGroup: {{ .uid | default 10001 }}
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "parlando.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* A Deployment of a service. Of `.`: root, component, image, replicas (null if something scales it), port, env, blobs,
resources, live and ready (paths of probes), drainS (pause before SIGTERM), graceS; name, variant, gpus, nodeSelector,
tolerations, extraEnv (text), data (a folder of its own), tlsSecret (then it serves HTTPS), checksum (of what pods read only at their start). */}}
{{- define "parlando.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "parlando.meta" . | nindent 2 }}
spec:
  {{- if ne .replicas nil }}
  replicas: {{ .replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "parlando.selector" . | nindent 6 }}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels:
        {{- include "parlando.selector" . | nindent 8 }}
      {{- with .checksum }}
      annotations: {checksum/keys: {{ . }}}
      {{- end }}
    spec:
      {{- include "parlando.podSecurity" . | nindent 6 }}
      terminationGracePeriodSeconds: {{ .graceS }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "parlando.selector" . | nindent 14 }}
      {{- with .nodeSelector }}
      nodeSelector: {{ toYaml . | nindent 8 }}
      {{- end }}
      {{- with .tolerations }}
      tolerations: {{ toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "parlando.image" . }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          {{- include "parlando.containerSecurity" . | nindent 10 }}
          ports:
            - {name: http, containerPort: {{ .port }}}
          env:
            {{- include "parlando.env" . | nindent 12 }}
            {{- with .extraEnv }}
            {{- . | nindent 12 }}
            {{- end }}
          {{- $resources := deepCopy .resources }}
          {{- if .gpus }}
          {{- $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" .gpus) ($resources.limits | default dict)) }}
          {{- end }}
          resources: {{ toYaml $resources | nindent 12 }}
          {{- $scheme := empty .tlsSecret | ternary "HTTP" "HTTPS" }}
          startupProbe:
            httpGet: {path: {{ .live }}, port: http, scheme: {{ $scheme }}}
            periodSeconds: 2
            failureThreshold: 150
          livenessProbe:
            httpGet: {path: {{ .live }}, port: http, scheme: {{ $scheme }}}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: {{ .ready }}, port: http, scheme: {{ $scheme }}}
            periodSeconds: 3
            timeoutSeconds: 3
            failureThreshold: 2
          {{- with .drainS }}
          lifecycle:
            preStop:
              exec: {command: [sleep, {{ . | quote }}]}
          {{- end }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if and .blobs (not .root.Values.blobs.url) }}
            - {name: blobs, mountPath: /blobs}
            {{- end }}
            {{- with .data }}
            - {name: data, mountPath: {{ . }}}
            {{- end }}
            {{- if .tlsSecret }}
            - {name: tls, mountPath: /tls, readOnly: true}
            {{- end }}
      volumes:
        - {name: tmp, emptyDir: {}}
        {{- if and .blobs (not .root.Values.blobs.url) }}
        - name: blobs
          persistentVolumeClaim: {claimName: {{ .root.Values.blobs.volume.existingClaim | default (printf "%s-blobs" .root.Release.Name) }}}
        {{- end }}
        {{- if .data }}
        - {name: data, emptyDir: {}}
        {{- end }}
        {{- with .tlsSecret }}
        - {name: tls, secret: {secretName: {{ . }}}}
        {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "parlando.meta" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "parlando.selector" . | nindent 6 }}
{{- end }}

{{- define "parlando.hpa" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "parlando.meta" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .root.Release.Name }}-{{ .component }}}
  minReplicas: {{ .scaling.min }}
  maxReplicas: {{ .scaling.max }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .scaling.cpu }}}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 300}
{{- end }}

{{- define "parlando.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "parlando.meta" . | nindent 2 }}
spec:
  selector:
    {{- include "parlando.selector" . | nindent 4 }}
  ports:
    - {name: {{ .portName | default "http" }}, port: {{ .port }}, targetPort: {{ .portName | default "http" }}}
{{- end }}
