"""The Kubernetes manifest of the documents agrees with the image; no cluster has tried it."""

import re
from pathlib import Path

import yaml
from pydantic import SecretStr

from ml_backend.__main__ import PROGRAM
from ml_backend.app import create_app
from ml_backend.connection.webhook_checks import is_host_for_webhooks
from ml_backend.settings import Settings
from tests.test_deployment import COMPOSE, instructions

PAGE = (Path(__file__).parents[1] / "docs" / "deployment.md").read_text()
(MANIFEST,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
VOLUME, SERVICE, DEPLOYMENT = yaml.safe_load_all(MANIFEST)
POD = DEPLOYMENT["spec"]["template"]["spec"]
SERVER, WORKER = POD["containers"]
(PORT,) = instructions("EXPOSE ")


def test_objects_find_each_other():
    assert [each["kind"] for each in (VOLUME, SERVICE, DEPLOYMENT)] == [
        "PersistentVolumeClaim",
        "Service",
        "Deployment",
    ]
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert SERVICE["spec"]["selector"] == labels
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    (volume,) = POD["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == VOLUME["metadata"]["name"]
    (secret,) = set(re.findall(r"kubectl create secret generic (\S+)", PAGE))
    for container in POD["containers"]:
        assert container["envFrom"] == [{"secretRef": {"name": secret}}]


def test_both_containers_run_the_image_that_compose_builds():
    for container, name in ((SERVER, "backend"), (WORKER, "worker")):
        assert container["image"].rpartition("/")[2] == COMPOSE["services"][name]["image"]
        assert container.get("args", ["serve"]) == COMPOSE["services"][name]["command"]
        assert container.get("args", ["serve"])[0] in PROGRAM.commands


def test_pod_runs_as_the_user_of_the_image_who_may_write_to_the_volume():
    (user,) = instructions("USER ")
    assert POD["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "fsGroup": int(user),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    (path,) = instructions("VOLUME ")
    for container in POD["containers"]:
        assert container["volumeMounts"] == [{"name": POD["volumes"][0]["name"], "mountPath": path}]


def test_a_namespace_that_restricts_its_pods_takes_them():
    """As the Pod Security Standard "restricted" asks; and nothing is lent the cluster's token."""
    assert POD["automountServiceAccountToken"] is False
    for container in POD["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


def test_only_one_pod_writes_to_the_volume():
    assert DEPLOYMENT["spec"]["replicas"] == 1
    assert DEPLOYMENT["spec"]["strategy"] == {"type": "Recreate"}


def test_worker_has_as_long_to_stop_as_with_compose():
    grace = COMPOSE["services"]["worker"]["stop_grace_period"]
    assert f"{POD['terminationGracePeriodSeconds']}s" == grace


def test_port_is_the_one_that_the_image_listens_at():
    assert SERVICE["spec"]["ports"] == [{"port": int(PORT)}]
    assert SERVER["ports"] == [{"containerPort": int(PORT)}]


def test_probes_ask_what_answers_without_the_login(tmp_path):
    settings = Settings(model_dir=tmp_path, basic_auth_user="u", basic_auth_pass=SecretStr("p"))
    client = create_app(settings).test_client()
    for probe in ("livenessProbe", "readinessProbe"):
        asked = SERVER[probe]["httpGet"]
        assert asked["port"] == int(PORT)
        assert client.get(asked["path"]).status_code in (200, 503)
    assert not {"livenessProbe", "readinessProbe"} & WORKER.keys()


def test_server_is_given_as_long_as_the_health_check_of_the_image_gives_it():
    (check,) = instructions("HEALTHCHECK ")
    probe = SERVER["livenessProbe"]
    assert f"--interval={probe['periodSeconds']}s " in check
    assert f"--timeout={probe['timeoutSeconds']}s " in check
    assert f"--start-period={probe['initialDelaySeconds']}s " in check


def test_label_studio_makes_a_webhook_to_the_service():
    (address,) = re.findall(r"# connect http://(\S+?):(\d+) in", MANIFEST)
    assert address[0].startswith(f"{SERVICE['metadata']['name']}.")
    assert address[1] == PORT
    assert is_host_for_webhooks(address[0])
