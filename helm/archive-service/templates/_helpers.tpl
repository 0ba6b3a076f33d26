{{/* Names. */}}
{{- define "archive.fullname" -}}
{{- default (ternary .Release.Name (printf "%s-archive" .Release.Name) (contains "archive" .Release.Name)) .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- define "archive.selector" -}}
app.kubernetes.io/name: archive-service
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "archive.labels" -}}
{{ include "archive.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "archive.serviceAccount" -}}
{{- default (include "archive.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "archive.exportsClaim" -}}
{{- default (printf "%s-exports" (include "archive.fullname" .)) .Values.exports.existingClaim -}}
{{- end -}}

{{- define "archive.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* Who needs a setting: "alarms" the scheduler, "projections" who reads or writes catalog and index, "common" everybody.
An SMTP process opens neither catalog nor index, so it is not given their credentials, nor those for signing in. */}}
{{- define "archive.group" -}}
{{- if hasPrefix "alarm_" . -}}alarms
{{- else if or (hasPrefix "catalog_" .) (hasPrefix "es_" .) (eq "oidc_secrets" .) -}}projections
{{- else -}}common
{{- end -}}
{{- end -}}

{{/* The groups of a role, as a JSON list. */}}
{{- define "archive.groups" -}}
{{- if eq . "smtp" -}}["common"]
{{- else if eq . "scheduler" -}}["common","projections","alarms"]
{{- else -}}["common","projections"]
{{- end -}}
{{- end -}}

{{/* A value as its variable holds it. Numbers of a values file are floats: 268435456 must not become 2.68435456e+08. */}}
{{- define "archive.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- printf "%.0f" . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* The plain settings of one group. Argument: list of root and group. */}}
{{- define "archive.settings" -}}
{{- $group := index . 1 -}}
{{- range $name, $value := (index . 0).Values.settings }}
{{- if and (ne $value nil) (eq (include "archive.group" $name) $group) }}
ARCHIVE_{{ upper $name }}: {{ include "archive.text" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The environment of a container. Argument: list of root and role. Secrets by reference only. */}}
{{- define "archive.env" -}}
{{- $root := index . 0 -}}
{{- $groups := fromJsonArray (include "archive.groups" (index . 1)) -}}
envFrom:
  {{- range $groups }}
  - configMapRef:
      name: {{ include "archive.fullname" $root }}-{{ . }}
  {{- end }}
env:
  - name: HOME
    value: /tmp
  {{- range $name, $from := $root.Values.secrets }}
  {{- if and $from (has (include "archive.group" $name) $groups) }}
  - name: ARCHIVE_{{ upper $name }}
    valueFrom:
      secretKeyRef:
        name: {{ $from.name }}
        key: {{ $from.key }}
  {{- end }}
  {{- end }}
{{- end -}}

{{- define "archive.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "archive.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.runAs.user }}
runAsGroup: {{ .Values.runAs.group }}
fsGroup: {{ .Values.runAs.group }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Volumes and where they are mounted. Argument: list of root and role. ``work`` is a mount of its own, because a folder
that the kubelet makes for a nested mount belongs to root. */}}
{{- define "archive.mounts" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
- name: work
  mountPath: /var/lib/archive/work
- name: tmp
  mountPath: /tmp
{{- if has $role (list "api" "scheduler") }}
- name: exports
  mountPath: /var/lib/archive/work/exports
{{- end }}
{{- if and (eq $role "smtp") $root.Values.smtp.tls.existingSecret }}
- name: tls
  mountPath: /etc/archive/tls
  readOnly: true
{{- end }}
{{- if $root.Values.trustedCA.existingConfigMap }}
- name: ca
  mountPath: /etc/archive/ca
  readOnly: true
{{- end }}
{{- if $root.Values.kmsFolder.existingClaim }}
- name: kms
  mountPath: /var/lib/archive/kms
{{- end }}
{{- end -}}

{{- define "archive.volumes" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
- name: work
  {{- if and (eq $role "scheduler") $root.Values.scheduler.workClaim }}
  persistentVolumeClaim:
    claimName: {{ $root.Values.scheduler.workClaim }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ $root.Values.workFolder.sizeLimit }}
  {{- end }}
- name: tmp
  emptyDir:
    sizeLimit: {{ $root.Values.tmpFolder.sizeLimit }}
{{- if has $role (list "api" "scheduler") }}
- name: exports
  persistentVolumeClaim:
    claimName: {{ include "archive.exportsClaim" $root }}
{{- end }}
{{- if and (eq $role "smtp") $root.Values.smtp.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ $root.Values.smtp.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if $root.Values.trustedCA.existingConfigMap }}
- name: ca
  configMap:
    name: {{ $root.Values.trustedCA.existingConfigMap }}
{{- end }}
{{- if $root.Values.kmsFolder.existingClaim }}
- name: kms
  persistentVolumeClaim:
    claimName: {{ $root.Values.kmsFolder.existingClaim }}
{{- end }}
{{- end -}}

{{/* What every pod has in common. Argument: list of root and role. */}}
{{- define "archive.pod" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
serviceAccountName: {{ include "archive.serviceAccount" $root }}
automountServiceAccountToken: false
# A Service named "archive" would otherwise put ARCHIVE_* variables of its own into the pod.
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "archive.podSecurity" $root | nindent 2 }}
volumes:
  {{- include "archive.volumes" . | nindent 2 }}
{{- end -}}

{{/* Probes. The kubelet's timeouts are generous: a liveness probe is for what never comes back by itself. */}}
{{- define "archive.probes" -}}
startupProbe:
  httpGet:
    path: /health/ready
    port: health
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 30
{{- if eq . "smtp" }}
livenessProbe:
  httpGet:
    path: /health/live
    port: health
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  tcpSocket:
    port: smtp
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- else if eq . "api" }}
livenessProbe:
  httpGet:
    path: /health/live
    port: http
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /health/ready
    port: http
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 3
{{- else }}
livenessProbe:
  httpGet:
    path: /health/live
    port: health
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /health/ready
    port: health
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}
{{- end -}}

{{/* One role's Deployment. Argument: list of root and role. */}}
{{- define "archive.deployment" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := index $root.Values $role -}}
{{- if lt (int $own.terminationGracePeriodSeconds) (add $own.preStopSeconds 75 | int) -}}
{{- fail (printf "%s.terminationGracePeriodSeconds must be %s.preStopSeconds and at least 75 more: mail in flight is finished in that time" $role $role) -}}
{{- end -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "archive.fullname" $root }}-{{ $role }}
  labels:
    {{- include "archive.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $role }}
spec:
  {{- if not (and (has $role (list "smtp" "api")) $own.autoscaling.enabled) }}
  replicas: {{ $own.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    {{- if eq $role "scheduler" }}
    # Two schedulers at once would write one export twice, and one would remove what the other is writing.
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
    {{- end }}
  selector:
    matchLabels:
      {{- include "archive.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ $role }}
  template:
    metadata:
      labels:
        {{- include "archive.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ $role }}
        archive-service/serves: "true"
      annotations:
        # New settings make new pods.
        checksum/settings: {{ include (print $root.Template.BasePath "/configmap.yaml") $root | sha256sum }}
        {{- with $own.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "archive.pod" . | nindent 6 }}
      # preStop, then at most 70 seconds: a writer gives up on a mail after 60, its parent waits 70 for its children.
      terminationGracePeriodSeconds: {{ $own.terminationGracePeriodSeconds }}
      {{- with $own.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $own.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $own.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ $key }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "archive.selector" $root | nindent 14 }}
              app.kubernetes.io/component: {{ $role }}
        {{- end }}
      containers:
        - name: {{ $role }}
          image: {{ include "archive.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [serve, --role, {{ $role }}]
          securityContext:
            {{- include "archive.containerSecurity" $root | nindent 12 }}
          {{- include "archive.env" . | nindent 10 }}
          ports:
            - name: health
              containerPort: 8026
            {{- if eq $role "smtp" }}
            - name: smtp
              containerPort: 2525
            {{- if $root.Values.smtp.milter.enabled }}
            - name: milter
              containerPort: 2526
            {{- end }}
            {{- else if eq $role "api" }}
            - name: http
              containerPort: 8025
            {{- end }}
          {{- include "archive.probes" $role | nindent 10 }}
          lifecycle:
            preStop:
              exec:
                # Until every load balancer has taken this pod out: who still connects is served.
                command: [sleep, {{ $own.preStopSeconds | toString | quote }}]
          resources:
            {{- toYaml $own.resources | nindent 12 }}
          volumeMounts:
            {{- include "archive.mounts" . | nindent 12 }}
{{- end -}}
