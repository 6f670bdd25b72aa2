{{/* Arguments of an agent that serves, as a list. */}}
{{- define "sluice.agent.args" -}}
{{- $agent := .Values.agent -}}
- run
- --in-cluster
{{- with include "sluice.apiServer" . }}
- --api-server={{ . }}
{{- end }}
- --mode={{ lower $agent.mode }}
- --healthz-bind-address=0.0.0.0:{{ $agent.healthPort }}
- --metrics-bind-address={{ include "sluice.address" $agent.metrics.bindAddress }}:{{ $agent.metrics.port }}
{{- with $agent.ipvsServiceMetrics }}
- --ipvs-service-metrics={{ . }}
{{- end }}
{{- range $agent.firstServices }}
- --first-services={{ . }}
{{- end }}
- --log-level={{ $agent.logLevel }}
- --log-format={{ $agent.logFormat }}
{{- range $agent.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "sluice.address" -}}
{{- if contains ":" . }}[{{ trimAll "[]" . }}]{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* A container of the agent's program. Call with a dict of `context`, `name`, `args`, and `serves` for one that serves. */}}
{{- define "sluice.agent" -}}
{{- $agent := .context.Values.agent -}}
- name: {{ .name }}
  image: {{ include "sluice.image" (dict "context" .context "repository" $agent.image.repository) }}
  imagePullPolicy: {{ .context.Values.image.pullPolicy }}
  terminationMessagePolicy: FallbackToLogsOnError # the sentence that it ended with is in the pod's status
  args: {{- toYaml .args | nindent 4 }}
  env:
    - name: NODE_NAME
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    # A runtime mounts /proc/sys read-only, and lets nothing be mounted over it.
    - name: SLUICE_PROC_SYS
      value: /host/proc/sys
  {{- if .serves }}
  ports:
    - name: health
      containerPort: {{ $agent.healthPort }}
    - name: metrics
      containerPort: {{ $agent.metrics.port }}
  # No liveness probe: an agent ends by itself when a part of it does, and what keeps it from programming a kernel, or from reaching the API
  # server, a restart does not mend. /healthz and the log say what it is.
  readinessProbe:
    httpGet:
      path: /healthz
      port: health
    periodSeconds: 5
  {{- end }}
  resources: {{- toYaml $agent.resources | nindent 4 }}
  securityContext:
    # Root of the node's user namespace: it owns the files below, and the kernel asks for it beside the capabilities.
    runAsUser: 0
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
      add:
        - NET_ADMIN # rules, address sets, virtual servers, routes, connection tracking, sysctls of the network
        - NET_RAW # iptables-legacy speaks to the kernel by a raw socket
        - SYS_ADMIN # what the node can run is tried in a network namespace made for it, so that nothing is left on the node
        {{- if $agent.loadKernelModules }}
        - SYS_MODULE # agent.loadKernelModules
        {{- end }}
    seLinuxOptions:
      type: spc_t # nothing else may write below /run and /var/lib of the node; without SELinux this means nothing
  volumeMounts:
    - name: run # the agent's lock and notes, and the CNI plugin's socket
      mountPath: /run/sluice
    - name: state # what outlives a reboot: old sysctl values, last settings, records of attachments
      mountPath: /var/lib/sluice
    - name: xtables-lock # shared with every program that runs iptables-legacy on the node
      mountPath: /run/xtables.lock
    - name: sysctls
      mountPath: /host/proc/sys/net
    {{- if $agent.loadKernelModules }}
    - name: modules
      mountPath: /lib/modules
      readOnly: true
    {{- end }}
{{- end }}

{{/*
A container of the installer. It is in the agent's pod because both belong on the same nodes at the same time; it has neither the agent's
capabilities nor its mounts. Call with a dict of `context` and `action`.
*/}}
{{- define "sluice.cni" -}}
{{- $cni := .context.Values.cni -}}
- name: cni-{{ .action }}
  image: {{ include "sluice.image" (dict "context" .context "repository" $cni.image.repository) }}
  imagePullPolicy: {{ .context.Values.image.pullPolicy }}
  terminationMessagePolicy: FallbackToLogsOnError # the sentence that it ended with is in the pod's status
  args:
    - {{ .action }}
    - --programs
    - /host/cni/programs
    - --configurations
    - /host/cni/configurations
    {{- if eq .action "install" }}
    - --entry
    - {{ mergeOverwrite (dict "type" "sluice-cni") $cni.entry | toJson | quote }}
    - --watch
    {{- end }}
  resources: {{- toYaml $cni.resources | nindent 4 }}
  securityContext:
    runAsUser: 0
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
      add: [DAC_OVERRIDE] # some installers of clusters give CNI's directories to a user of their own
    seLinuxOptions:
      type: spc_t # nothing else may write where CNI's files are; without SELinux this means nothing
  volumeMounts:
    - name: state # configurations as their owner wrote them
      mountPath: /var/lib/sluice
    - name: cni-programs
      mountPath: /host/cni/programs
    - name: cni-configurations
      mountPath: /host/cni/configurations
{{- end }}
