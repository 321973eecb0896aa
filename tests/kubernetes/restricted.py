"""Kubernetes' Pod Security Standard "restricted", with "baseline", which it includes."""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECCOMP = {"RuntimeDefault", "Localhost"}
SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}


def violations(spec):
    """What a pod's spec has that the standard forbids, or lacks that it demands."""
    found = []
    pod = spec.get("securityContext", {})
    found += [f"{key} is on" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    found += [f"sysctl {one['name']}" for one in pod.get("sysctls", []) if one["name"] not in SYSCTLS]
    for volume in spec.get("volumes", []):
        kinds = volume.keys() - {"name"}
        if not kinds or kinds - VOLUMES:
            found.append(f"volume {volume['name']} is of kind {sorted(kinds)}")
    found += [f"pod: {problem}" for problem in _context(pod)]
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(key, []):
            found += [f"{container['name']}: {problem}" for problem in _container(container, pod)]
    return found


def _context(context):
    """What is held for pods and containers alike."""
    if context.get("runAsUser") == 0:
        yield "runs as root"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "is a process of the host"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield "has no AppArmor"
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type", "") not in SELINUX or selinux.get("user") or selinux.get("role"):
        yield "chooses SELinux' options"
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield "has no seccomp"


def _container(container, pod):
    context = container.get("securityContext", {})
    yield from _context(context)
    if context.get("privileged"):
        yield "is privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if context.get("procMount", "Default") != "Default":
        yield "sees more of /proc"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "may be root"
    if not context.get("seccompProfile", pod.get("seccompProfile", {})).get("type"):
        yield "names no seccomp profile"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "keeps capabilities"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "has a port of the host"
    handlers = [container.get(f"{name}Probe", {}) for name in ("startup", "liveness", "readiness")]
    handlers += container.get("lifecycle", {}).values()
    if any(handler.get(kind, {}).get("host") for handler in handlers for kind in ("httpGet", "tcpSocket")):
        yield "has a probe of another host"
