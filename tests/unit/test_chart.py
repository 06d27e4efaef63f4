"""The Helm chart, rendered by Helm itself: valid Kubernetes objects that keep our rules."""

from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from analyzer.settings import AnalyzerSettings
from api_gateway.settings import GatewaySettings
from audio_processor.settings import ProcessorSettings
from parlando.store import keys
from song_recognizer.settings import SongSettings
from support.settings_doc import SECTIONS
from transcriber.settings import TranscriberSettings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "parlando"
CUSTOM = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1")
"""Objects of operators, for which Kubernetes has no schema."""
VERSIONS = ("1.29", "1.34")
SETTINGS = {
    "gateway": GatewaySettings,
    "audio-processor": ProcessorSettings,
    "transcriber": TranscriberSettings,
    "song-recognizer": SongSettings,
    "analyzer": AnalyzerSettings,
}
"""Component → the settings of its service."""


def namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


KEDA = {"transcribers": {"default": {"keda": {"enabled": True}}}}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": {
        "image": {"registry": "registry.example.org", "tag": "9"},
        "partitions": 2,
        "analyzer": {"enabled": True},
        "transcribers": {
            "default": {"keda": {"enabled": True}},
            "gpu": {"enabled": True, "keda": {"enabled": True}, "nodeSelector": {"gpu": "yes"}},
        },
        "ingress": {"enabled": True, "host": "stt.example.org", "tlsSecret": "tls"},
        "networkPolicy": {
            "gatewayFrom": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
            ],
            "metricsFrom": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
            ],
        },
        "podMonitor": {"enabled": True, "existingSecret": "prometheus", "labels": {"release": "monitoring"}},
    },
    "outside": {
        "auth": {"apiKeys": "", "existingSecret": "keys"},
        "redis": {
            "enabled": False,
            "external": {"existingSecret": "redis", "address": "r:6379", "passwordSecret": "redis"},
        },
        "blobs": {"url": "s3://bucket/parlando", "endpoint": "http://s3:9000", "existingSecret": "s3"},
        "gateway": {
            "autoscaling": {"enabled": False},
            "env": {"MAX_JOBS_WAITING": 1_000_000},
            "tlsSecret": "tls",
        },
        "env": {"OTEL_TRACES_SAMPLER_ARG": 0.05, "LOG_LEVEL": "INFO"},
        "imagePullSecrets": [{"name": "pull"}],
        **KEDA,
    },
}


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values={"auth": {"apiKeys": "key"}, **values}, name="demo", namespace="speech")
    documents = [document for text in files.values() for document in yaml.safe_load_all(text)]
    return [document for document in documents if document]


@cache
def of_case(case: str) -> list[dict[str, Any]]:
    return rendered(CASES[case])


def of(case: str, kind: str) -> dict[str, dict[str, Any]]:
    found = [each for each in of_case(case) if each["kind"] == kind]
    names = [each["metadata"]["name"] for each in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def pods(case: str) -> dict[str, dict[str, Any]]:
    workloads = of(case, "Deployment") | of(case, "StatefulSet")
    return {name: each["spec"]["template"] for name, each in workloads.items()}


def containers(case: str) -> dict[str, dict[str, Any]]:
    return {name: pod["spec"]["containers"][0] for name, pod in pods(case).items()}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", selector)
    excluded = [each for each in selector.get("matchExpressions", ()) if each["operator"] == "NotIn"]
    return wanted.items() <= labels.items() and all(labels[e["key"]] not in e["values"] for e in excluded)


def test_helm_has_no_complaint():
    report = helm_python.lint(CHART, {"auth": {"apiKeys": "key"}}, strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_objects_have_the_schemas_of_kubernetes(case, version):
    plain = [each for each in of_case(case) if each["apiVersion"] not in CUSTOM]
    assert len(plain) > 10
    for each in plain:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_mistake_has_no_schema():
    deployment = of("default", "Deployment")["demo-gateway"]
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("case", CASES)
def test_pods_have_no_rights_limits_and_probes(case):
    for name, pod in pods(case).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, "their variables could be taken for settings"
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            claimed = {volume["name"] for volume in spec.get("volumes", ())}
            assert mounted - {"data"} <= claimed


@pytest.mark.parametrize("case", CASES)
def test_every_deployment_is_disrupted_one_pod_at_a_time(case):
    budgets = of(case, "PodDisruptionBudget")
    for name, deployment in of(case, "Deployment").items():
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        assert budgets[name]["spec"]["selector"] == deployment["spec"]["selector"]
        assert selects(deployment["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"])


def test_pods_drain_before_they_are_killed():
    """A gateway and an audio-processor are first left by the Service; then all have time after SIGTERM."""
    for name, pod in pods("everything").items():
        lifecycle = pod["spec"]["containers"][0].get("lifecycle")
        pause = int(lifecycle["preStop"]["exec"]["command"][1]) if lifecycle else 0
        assert bool(pause) == (name in ("demo-gateway", "demo-audio-processor"))
        assert pod["spec"]["terminationGracePeriodSeconds"] >= pause + 15


@pytest.mark.parametrize("case", CASES)
def test_services_and_policies_select_pods_and_every_pod_is_closed_by_default(case):
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(case).items()}
    for name, service in of(case, "Service").items():
        assert [pod for pod in labels if selects(service["spec"]["selector"], labels[pod])] == [name]
    policies = of(case, "NetworkPolicy")
    for pod in labels:
        closing = [
            name for name, each in policies.items() if selects(each["spec"]["podSelector"], labels[pod])
        ]
        assert "demo-default" in closing
        assert len(closing) == 2, "and one policy opens its port"
    assert "ingress" not in policies["demo-default"]["spec"]


def test_only_the_song_recognizer_and_prometheus_reach_the_audio_processor():
    [rule] = of("everything", "NetworkPolicy")["demo-audio-processor"]["spec"]["ingress"]
    components = [
        each["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for each in rule["from"]
        if "podSelector" in each
    ]
    assert components == ["song-recognizer"]
    assert len(rule["from"]) == 2


@pytest.mark.parametrize("case", CASES)
def test_the_environment_has_settings_that_exist(case):
    known = {name.upper() for _, settings in SECTIONS for name in settings.model_fields} | {"XDG_DATA_HOME"}
    for name, container in containers(case).items():
        variables = [variable["name"] for variable in container.get("env", ())]
        assert set(variables) <= known, name
        assert len(set(variables)) == len(variables), name
        if name != "demo-redis":
            assert "REDIS_URL" in variables


@pytest.mark.parametrize("case", CASES)
def test_each_service_accepts_its_environment(case, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # without a .env
    for name, pod in pods(case).items():
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        if component == "redis":
            continue
        variables = pod["spec"]["containers"][0]["env"]
        assert all(isinstance(variable.get("value", ""), str) for variable in variables), name
        with monkeypatch.context() as patch:
            for variable in variables:
                if "value" in variable:
                    patch.setenv(variable["name"], variable["value"])
            settings = SETTINGS[component]()
        assert settings.log_format == "json"
        if component == "gateway":
            assert settings.ready_needs == (), "the default of the chart"


@pytest.mark.parametrize("case", ["default", "everything"])
def test_the_ports_are_those_of_the_images(case):
    for name, container in containers(case).items():
        if name == "demo-redis":
            continue
        image = container["image"].rpartition("/")[2].rpartition(":")[0].removeprefix("parlando-")
        dockerfile = (ROOT / image.removesuffix("-gpu") / "Dockerfile").read_text()
        assert f"\nEXPOSE {container['ports'][0]['containerPort']}\n" in dockerfile


def test_numbers_in_the_environment_are_written_in_full():
    environment = containers("outside")["demo-gateway"]["env"]
    assert {"name": "MAX_JOBS_WAITING", "value": "1000000"} in environment
    assert {"name": "OTEL_TRACES_SAMPLER_ARG", "value": "0.05"} in environment


def test_gateways_are_replaced_when_their_keys_change():
    def annotations(keys: str) -> object:
        [found] = [
            each["spec"]["template"]["metadata"].get("annotations")
            for each in rendered({"auth": {"apiKeys": keys}})
            if (each["kind"], each["metadata"]["name"]) == ("Deployment", "demo-gateway")
        ]
        return found

    assert annotations("one") == annotations("one") != annotations("two")
    assert "annotations" not in pods("outside")["demo-gateway"]["metadata"], "that secret isn't the chart's"


def test_prometheus_reads_every_pod_once_and_sends_its_key_to_gateways_only():
    monitors = of("everything", "PodMonitor").values()
    for name, pod in pods("everything").items():
        reading = [each for each in monitors if selects(each["spec"]["selector"], pod["metadata"]["labels"])]
        assert len(reading) == (name != "demo-redis"), name
        for monitor in reading:
            [endpoint] = monitor["spec"]["podMetricsEndpoints"]
            key = {"credentials": {"name": "prometheus", "key": "API_KEY"}}
            assert endpoint.get("authorization") == (key if name == "demo-gateway" else None)
    allowed = {"env": {"MONITOR_NETWORKS": "10.0.0.0/8"}}
    policy = {"metricsFrom": [namespace("monitoring")]}
    free = rendered({"gateway": allowed, "networkPolicy": policy, "podMonitor": {"enabled": True}})
    assert len([each for each in free if each["kind"] == "PodMonitor"]) == 2


def test_the_labels_by_which_prometheus_finds_its_monitors_can_be_set():
    for monitor in of("everything", "PodMonitor").values():
        assert monitor["metadata"]["labels"]["release"] == "monitoring"
        assert monitor["metadata"]["labels"]["app.kubernetes.io/instance"] == "demo"


def test_gateways_with_a_certificate_are_asked_by_https():
    gateway = containers("outside")["demo-gateway"]
    [mount] = [each for each in gateway["volumeMounts"] if each["name"] == "tls"]
    environment = {each["name"]: each.get("value") for each in gateway["env"]}
    assert environment["TLS_CERT"] == f"{mount['mountPath']}/tls.crt"
    assert environment["TLS_KEY"] == f"{mount['mountPath']}/tls.key"
    assert {"name": "tls", "secret": {"secretName": "tls"}} in pods("outside")["demo-gateway"]["spec"][
        "volumes"
    ]
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    for name, container in containers("outside").items():
        if name != "demo-redis":
            wanted = "HTTPS" if name == "demo-gateway" else "HTTP"
            assert {container[probe]["httpGet"]["scheme"] for probe in probes} == {wanted}
    whole = {
        "gateway": {"tlsSecret": "tls"},
        "ingress": {"enabled": True, "host": "stt.example.org"},
        "podMonitor": {"enabled": True, "existingSecret": "prometheus"},
        "networkPolicy": {"metricsFrom": [namespace("monitoring")]},
    }
    objects = {(each["kind"], each["metadata"]["name"]): each for each in rendered(whole)}
    annotations = objects["Ingress", "demo-gateway"]["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"
    [endpoint] = objects["PodMonitor", "demo-gateway"]["spec"]["podMetricsEndpoints"]
    assert endpoint["scheme"] == "https"


def test_the_ingress_serves_https_with_the_secret_that_is_named():
    assert of("everything", "Ingress")["demo-gateway"]["spec"]["tls"] == [
        {"hosts": ["stt.example.org"], "secretName": "tls"}
    ]
    assert "backend-protocol" not in str(of("everything", "Ingress")), "the gateway itself serves plain HTTP"


def test_what_is_scaled_exists_and_has_no_fixed_number():
    deployments = of("everything", "Deployment")
    targets = [
        each["spec"]["scaleTargetRef"]["name"]
        for kind in ("HorizontalPodAutoscaler", "ScaledObject")
        for each in of("everything", kind).values()
    ]
    expected = ["audio-processor", "gateway", "transcriber-default", "transcriber-gpu"]
    assert sorted(targets) == [f"demo-{name}" for name in expected]
    for name, deployment in deployments.items():
        assert ("replicas" in deployment["spec"]) == (name not in targets)


def test_keda_reads_the_streams_of_the_pool():
    triggers = of("everything", "ScaledObject")["demo-transcriber-gpu"]["spec"]["triggers"]
    streams = {trigger["metadata"]["stream"] for trigger in triggers}
    pool = "whisper-large-v3"
    assert streams == {name(number, pool) for number in (0, 1) for name in (keys.sessions, keys.chunks)}
    for trigger in triggers:
        assert trigger["type"] == "redis-streams"
        assert trigger["metadata"]["address"] == "demo-redis.speech.svc:6379"
        assert trigger["metadata"]["consumerGroup"] == keys.TRANSCRIBERS
        count = "pendingEntriesCount" if ":sessions:" in trigger["metadata"]["stream"] else "lagCount"
        assert int(trigger["metadata"][count]) > 0
    [trigger, _] = of("outside", "ScaledObject")["demo-transcriber-default"]["spec"]["triggers"]
    assert trigger["authenticationRef"]["name"] in of("outside", "TriggerAuthentication")


def test_the_gpu_variant_gets_a_gpu_and_the_other_none():
    found = containers("everything")
    assert found["demo-transcriber-gpu"]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in found["demo-transcriber-default"]["resources"]["limits"]
    assert {"name": "DEVICE", "value": "cuda"} in found["demo-transcriber-gpu"]["env"]
    assert pods("everything")["demo-transcriber-gpu"]["spec"]["nodeSelector"] == {"gpu": "yes"}


def test_redis_never_evicts_and_is_durable_if_wanted():
    arguments = containers("default")["demo-redis"]["args"]
    assert arguments[arguments.index("--maxmemory-policy") + 1] == "noeviction"
    assert arguments[arguments.index("--appendonly") + 1] == "yes"
    assert "volumeClaimTemplates" in of("default", "StatefulSet")["demo-redis"]["spec"]
    assert of("outside", "StatefulSet") == {}


def test_the_ingress_keeps_websockets_and_event_streams_open():
    annotations = of("everything", "Ingress")["demo-gateway"]["metadata"]["annotations"]
    named = {name.rpartition("/")[2]: value for name, value in annotations.items()}
    assert int(named["proxy-read-timeout"]) >= 3600
    assert named["proxy-buffering"] == named["proxy-request-buffering"] == "off"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"auth": {"apiKeys": ""}}, "Set auth.apiKeys"),
        ({"redis": {"enabled": False}}, "redis.external.existingSecret"),
        ({"ingress": {"enabled": True}}, "Set ingress.host"),
        ({"gateway": {"replicas": -1}}, "replicas"),
        (
            {"podMonitor": {"enabled": True}, "networkPolicy": {"metricsFrom": [namespace("monitoring")]}},
            "podMonitor.existingSecret, or gateway.env.MONITOR_NETWORKS: gateways answer 401",
        ),
        ({"podMonitor": {"enabled": True, "existingSecret": "s"}}, "Set networkPolicy.metricsFrom"),
        ({"transcribers": {"My Pool": {"image": "i", "pool": "p"}}}, "My Pool"),
    ],
)
def test_what_can_not_work_is_refused_with_its_reason(values, said):
    with pytest.raises(helm_python.HelmError, match=said):
        rendered(values)
