"""Suites: the shipped ones are whole; what is wrong in a file is told with its line."""

import inspect
from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.policy import POLICIES, make_policy
from headway.sim.cast import cast, sweep_of
from headway.sim.families import FAMILIES
from headway.sim.loaders import LOADERS
from headway.sim.oracle import BOUNDS
from headway.sim.poolspec import belief_pool, sim_pool
from headway.sim.sitespec import PoolSpec, SiteSpec
from headway.sim.strict import parse_strict
from headway.sim.suite import SUITES, Suite, checked, load_suite

SUITE = """\
name: small
about: a test
knee_policy: fcfs
pools:
  - name: one
    reference: qwen2.5-7b
    sites:
      - {preset: qwen2.5-7b@a100, seats: 4}
traces:
  - name: chain
    pools: [one]
    bodies: [{family: chain}]
policies: [fcfs, {id: chimera, sweep: true}]
sizes:
  quick: {seeds: 1, runs: 10, loads: [0.8]}
  default: {}
  full: {}
"""


def parsed(text: str) -> Suite:
    return checked(parse_strict(text, Suite, "my.yaml"), "my.yaml")


@pytest.mark.parametrize("name", SUITES)
def test_a_shipped_suite_names_only_what_exists(name: str) -> None:
    suite, base = load_suite(name)
    assert base is None and suite.name == name
    for spec in (*suite.policy_specs(), *cast(suite, suite.sizes.full)):
        assert spec.id in POLICIES or spec.id in BOUNDS
    assert suite.knee_policy in POLICIES
    for pool in suite.pools:
        sites = sim_pool(pool).sites
        assert len({site.id for site in sites}) == len(sites)
    for bodies in (bodies for trace in suite.traces for bodies in trace.bodies):
        assert bodies.data in LOADERS or bodies.family in FAMILIES
    quick = suite.sizes.quick
    assert len(quick.traces) == 1 or len(suite.traces) == 1
    assert (quick.seeds, quick.sweeps, quick.policies) == (1, False, ())
    assert suite.sizes.default.loads == (0.0, 0.8, 1.0, 1.3)
    assert suite.sizes.default.seeds >= 5
    assert 0.2 in suite.sizes.default.belief_errors


def test_the_knee_belongs_to_a_named_policy() -> None:
    knees = {name: load_suite(name)[0].knee_policy for name in SUITES}
    assert knees.pop("chimera") == "chimera"
    assert knees.pop("light") == "least-busy"
    assert set(knees.values()) == {"workflow-fcfs"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("knee_policy: fcfs", "knee_polcy: fcfs", "my.yaml:3: knee_polcy: unknown key"),
        ("knee_policy: fcfs", "knee_polcy: fcfs", "did you mean `knee_policy`?"),
        ("seats: 4", "seat: 4", "did you mean `seats`?"),
        ("seats: 4", "seats: 0", "my.yaml:8: pools.0.sites.0.seats"),
        ("bodies: [{family: chain}]", "bodies: []", "my.yaml:12: traces.0.bodies"),
        ("bodies: [{family: chain}]", "bodies: [{}]", "not from nowhere"),
        ("pools: [one]", "pools: [ones]", "did you mean `one`?"),
        ("reference: qwen2.5-7b", "reference: qwen2.5-72b", "reference: no 'qwen2.5-72b'"),
        ("loads: [0.8]", "loads: [-1]", "a load is 0 (idle) or a multiple of the knee, not -1"),
        ("loads: [0.8]", "loads: [50]", "load 50 is far beyond capacity"),
        ("loads: [0.8]", "confidence: [orcale]", "sizes.quick"),
        ("loads: [0.8]", "policies: [fcsf]", "did you mean `fcfs`?"),
        ("loads: [0.8]", "belief_errors: [1.5]", "from 0 to below 1, not 1.5"),
        ("name: chain", "name: chain\n    arrivals: {kind: gama}", "did you mean `gamma`?"),
        ("name: chain", "name: chain\n    arrivals: {king: gamma}", "did you mean `kind`?"),
        ("about: a test", "about: a test\nabout: twice", "my.yaml:3: 'about' is already given"),
        ("about: a test", "about: [", "my.yaml:4: not valid YAML"),
        ("policies: [fcfs,", "policies: [fcfs, fcfs,", "fcfs is given twice"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"my\.yaml") as error:
        parsed(SUITE.replace(old, new))
    assert told in str(error.value)


def test_an_unknown_suite_or_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean `chimera`"):
        load_suite("chimaera")
    with pytest.raises(ConfigError, match="cannot read"):
        load_suite(str(tmp_path / "none.yaml"))
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    assert load_suite(str(path))[1] == tmp_path


def test_a_sweep_plays_every_setting_once() -> None:
    suite = parsed(SUITE)
    settings = [spec.params for spec in cast(suite, suite.sizes.full) if spec.id == "chimera"]
    assert settings[0] == {}
    parameters = inspect.signature(POLICIES["chimera"].what).parameters.values()
    default = {knob.name: knob.default for knob in parameters}
    whole = [{**default, **one} for one in settings]
    swept = [{**default, **one} for one in sweep_of("chimera")]
    assert whole == [default, *(one for one in swept if one != default)]


def test_the_first_settings_of_a_sweep_span_it() -> None:
    first = sweep_of("chimera", 8)
    for sticky in (False, True):
        taus = {one["tau"] for one in first if one["sticky"] is sticky and one["delta"] == 0.05}
        assert {0.0, 8.0} < taus and len(taus) == 4
    weights = [one["w_quality"] for one in sweep_of("routebalance", 6)]
    assert (min(weights), max(weights)) == (0.0, 1.0) and len(set(weights)) == 6
    for name, knob in (("boost", "scale_s"), ("headway", "failure_price"), ("static", "share")):
        values = [one[knob] for one in sweep_of(name)]
        assert set(values[:2]) == {min(values), max(values)}


def test_every_setting_of_every_sweep_can_be_made() -> None:
    for name in POLICIES:
        settings = [str(sorted(one.items())) for one in sweep_of(name)]
        assert len(set(settings)) == len(settings)
        for one in sweep_of(name):
            make_policy(name, dict(one))


def test_a_size_may_sweep_only_some() -> None:
    text = SUITE.replace("[fcfs, {id", "[{id: boost, sweep: true}, {id")
    suite = parsed(text.replace("default: {}", "default: {swept: [chimera], sweep_settings: 3}"))
    played = [spec.id for spec in cast(suite, suite.sizes.default)]
    assert played.count("chimera") > 1 and played.count("boost") == 1
    full = [spec.id for spec in cast(suite, suite.sizes.full)]
    assert full.count("boost") == len(sweep_of("boost"))
    with pytest.raises(ConfigError, match=r"sizes.default.swept: no policy 'chimra'; did you mean"):
        parsed(SUITE.replace("default: {}", "default: {swept: [chimra]}"))


@pytest.mark.parametrize("name", SUITES)
def test_a_swept_policy_has_something_to_sweep(name: str) -> None:
    suite, _ = load_suite(name)
    for spec in suite.policy_specs():
        assert not spec.sweep or len(sweep_of(spec.id)) > 1, spec.id


def test_chosen_policies_are_strict_and_may_come_from_elsewhere() -> None:
    suite = parsed(SUITE)
    chosen = cast(suite, suite.sizes.quick, ("plas", "clairvoyant-srpt"))
    assert [spec.id for spec in chosen] == ["plas", "clairvoyant-srpt"]
    with pytest.raises(ConfigError, match=r"--policy: no policy 'hedway'; did you mean `headway`"):
        cast(suite, suite.sizes.quick, ("hedway",))


def test_belief_is_the_truth_or_off_by_exactly_the_error() -> None:
    spec = PoolSpec(
        name="p", reference="qwen2.5-7b", sites=(SiteSpec(preset="qwen2.5-7b@a100", count=3),)
    )
    pool = sim_pool(spec)
    truth = pool.sites[0].profile
    exact = belief_pool(pool).endpoints[0].profile
    assert exact is not None
    assert (exact.step_s, exact.prefill_s, exact.seats) == (
        truth.step_s,
        truth.prefill_s,
        truth.seats,
    )
    wrong = [spec.profile for spec in belief_pool(pool, 0.2, 7).endpoints]
    ratios = {
        round(getattr(one, name) / getattr(truth, name), 9)
        for one in wrong
        for name in ("step_s", "prefill_s", "seq_s", "context_s")
    }
    assert ratios == {0.8, 1.2}  # drawn by site and factor
    assert all(one is not None and one.kv_tokens == truth.kv_tokens for one in wrong)
    assert belief_pool(pool, 0.2, 7) == belief_pool(pool, 0.2, 7) != belief_pool(pool, 0.2, 8)


def test_a_pair_takes_its_prompts_to_the_named_server() -> None:
    site = SiteSpec(
        preset="llama-3.1-70b@h100x4",
        count=2,
        prefill="llama-3.1-70b@a100x4",
        prefill_server="prompts",
        transfer_s=1e-5,
    )
    pool = sim_pool(PoolSpec(name="pd", reference="llama-3.1-70b", sites=(site,)))
    assert [one.prefill_server for one in pool.sites] == ["prompts", "prompts"]
    believed = belief_pool(pool).endpoints[0]
    assert believed.prefill_server == "prompts" and believed.profile is not None
    assert pool.sites[0].prefill is not None
    assert believed.profile.prefill_s == pool.sites[0].prefill.prefill_s
