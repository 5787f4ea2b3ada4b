from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import service_spec

from swarmlite.errors import AlreadyExists, InvalidSpec, ResourceExhausted
from swarmlite.manager.allocator.ipam import AddressPool, NumberPool, SubnetPool, mac_of
from swarmlite.manager.store.api import Delete, Put
from swarmlite.model.task_states import NEW, RUNNING
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import EndpointSpec, PortConfig


def network(text):
    return ipaddress.ip_network(text)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=80), st.integers(28, 32))
def test_no_address_is_given_twice_and_all_of_a_subnet_are_given(steps, length):
    """Whatever is taken and given back, addresses are hosts of the subnet with one owner each."""
    subnet = network(f"10.1.2.0/{length}")
    pool, held = AddressPool(subnet), []
    hosts = {int(a) for a in subnet.hosts()} if length < 31 else set(map(int, subnet))
    for step in steps:
        if step is not None and held:
            pool.release(held.pop(step % len(held)))
            continue
        try:
            address = pool.allocate()
        except ResourceExhausted:
            assert set(held) == hosts
        else:
            assert address in hosts and address not in held
            held.append(address)


def test_a_network_of_a_16_gives_each_of_its_addresses_once():
    """As large as an overlay is to be: 65,534 hosts."""
    pool = AddressPool(network("10.7.0.0/16"))
    given = {pool.allocate() for _ in range(2**16 - 2)}
    assert given == set(map(int, network("10.7.0.0/16").hosts()))
    with pytest.raises(ResourceExhausted, match=r"no address left in 10\.7\.0\.0/16"):
        pool.allocate()


def test_an_address_that_was_freed_is_the_last_to_be_given_again():
    pool = AddressPool(network("10.1.2.0/29"))
    first = pool.allocate()
    pool.release(first)
    assert [pool.allocate() for _ in range(6)][-1] == first


def test_after_a_restart_addresses_go_on_behind_the_highest_taken():
    pool = AddressPool(network("10.1.2.0/24"))
    pool.take(int(ipaddress.ip_address("10.1.2.9")))
    pool.skip_used()
    assert pool.text(pool.allocate()) == "10.1.2.10/24"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(["10.0.0.0/26", "10.0.0.64/25", "10.0.0.192/27", None]), max_size=12)
)
def test_subnets_never_overlap(wanted_subnets):
    pool, taken = SubnetPool([network("10.0.0.0/24")], 27), []
    for wanted in wanted_subnets:
        try:
            if wanted is None:
                subnet = pool.allocate()
            else:
                subnet = ipaddress.ip_network(wanted, strict=False)
                pool.take(subnet)
        except (AlreadyExists, ResourceExhausted):
            continue
        assert not any(subnet.overlaps(other) for other in taken)
        taken.append(subnet)


def test_a_subnet_pool_says_when_it_is_empty():
    pool = SubnetPool([network("10.0.0.0/23")], 24)
    assert [str(pool.allocate()) for _ in range(2)] == ["10.0.0.0/24", "10.0.1.0/24"]
    with pytest.raises(ResourceExhausted, match="no subnet of /24 left"):
        pool.allocate()


def test_a_subnet_that_had_better_not_be_given_is_given_last():
    """What is to be avoided is passed over as a whole, and counts for nothing once all else is."""
    looked = []

    def avoid(subnet):
        looked.append(subnet)
        blocked = network("10.0.0.0/9")
        return blocked if subnet.overlaps(blocked) else None

    pool = SubnetPool([network("10.0.0.0/8"), network("172.16.0.0/16")], 24)
    assert str(pool.allocate(avoid=avoid)) == "10.128.0.0/24"
    assert str(pool.allocate(avoid=avoid)) == "10.128.1.0/24"
    assert len(looked) == 3
    small = SubnetPool([network("10.0.0.0/16"), network("172.16.0.0/23")], 24)
    given = [str(small.allocate(avoid=avoid)) for _ in range(4)]
    assert given == ["172.16.0.0/24", "172.16.1.0/24", "10.0.0.0/24", "10.0.1.0/24"]


def test_automatic_subnets_keep_clear_of_the_nodes_own_routes(world):
    """Of any node, and of what they tell that is no network nothing."""
    nodes = sorted(world.agents)

    def routed(*destinations):
        def change(node):
            for destination in destinations:
                node.description.routes.add(destination=destination, interface="eth0")

        return change

    world.change_node(nodes[0], routed("10.0.1.0/24", "nonsense"))
    world.change_node(nodes[2], routed("10.0.2.128/25", "fd00::/8"))
    first = world.add_network("a")
    world.settle()
    assert world.view.networks.get(first).ipam.configs[0].subnet == "10.0.3.0/24"


def test_numbers_go_round_and_skip_those_taken():
    pool = NumberPool(1, 3, "VNI")
    pool.take(2)
    assert (pool.allocate(), pool.allocate()) == (1, 3)
    with pytest.raises(ResourceExhausted):
        pool.allocate()
    pool.release([1])
    assert pool.allocate() == 1


def test_the_mac_is_made_of_the_address():
    assert mac_of(int(ipaddress.ip_address("10.0.1.5"))) == "02:42:0a:00:01:05"


def test_addresses_outside_of_the_subnet_are_refused():
    with pytest.raises(InvalidSpec):
        AddressPool(network("10.1.2.0/24")).take(int(ipaddress.ip_address("10.1.3.1")))


def test_networks_get_a_subnet_a_gateway_and_a_vni(world):
    first, second = world.add_network("a"), world.add_network("b", "192.168.7.0/24")
    world.settle()
    got = [world.view.networks.get(i) for i in ("ingress", first, second)]
    assert [n.ipam.configs[0].subnet for n in got] == [
        "10.0.0.0/24", "10.0.1.0/24", "192.168.7.0/24",
    ]  # fmt: skip
    assert got[2].ipam.configs[0].gateway == "192.168.7.1"
    assert {n.driver_state.options["vni"] for n in got} == {"4096", "4097", "4098"}


def test_a_subnet_that_overlaps_waits_until_the_other_is_gone(world):
    first = world.add_network("a", "192.168.0.0/16")
    world.settle()
    second = world.add_network("b", "192.168.7.0/24")
    service_id = world.create_service(on_network(second))
    world.settle()
    assert not world.view.networks.get(second).ipam.configs
    world.write(Delete(world.view.networks.get(first)))
    world.settle()
    assert world.view.networks.get(second).ipam.configs[0].subnet == "192.168.7.0/24"
    assert len(world.running(service_id)) == 1


def test_a_network_with_ipv6_gives_each_an_address_of_both(world):
    """Its subnet is one of the cluster's own, unless one is asked for; an IPv4 one is there too."""
    chosen, asked = world.add_network("a", ipv6=True), world.add_network("b", "fd00:7::/64")
    service_id = world.create_service(on_network(chosen, asked))
    world.settle()
    service = world.view.services.get(service_id)
    (task,) = world.running(service_id)
    for network_id, prefix in ((chosen, "fd53:4c01:"), (asked, "fd00:7:")):
        subnets = [c.subnet for c in world.view.networks.get(network_id).ipam.configs]
        four, six = sorted(subnets, key=lambda text: ":" in text)
        assert six.startswith(prefix)
        vips = [v.addr for v in service.endpoint.virtual_ips if v.network_id == network_id]
        (place,) = (n for n in task.networks if n.network_id == network_id)
        for addresses in (vips, place.addresses):
            assert [ipaddress.ip_interface(a).network for a in addresses] == [
                network(four), network(six),
            ]  # fmt: skip
        assert place.mac.startswith("02:42:0a:")


def test_of_several_subnets_the_next_gives_when_one_is_full(world):
    small = world.add_network("a", "10.7.0.0/29", "10.7.1.0/24")
    service_id = world.create_service(on_network(small, replicas=8))
    world.settle()
    tasks = world.running(service_id)
    assert len(tasks) == 8
    given = [ipaddress.ip_interface(t.networks[0].addresses[0]) for t in tasks]
    assert all(len(t.networks[0].addresses) == 1 for t in tasks)
    of = [str(address.network) for address in given]
    assert (of.count("10.7.0.0/29"), of.count("10.7.1.0/24")) == (4, 4)


def test_each_slot_has_its_own_of_the_fixed_addresses_of_a_service(world):
    """Also after an update; who waits for one that is taken says so, and the others run."""
    net = world.add_network("a", "10.7.0.0/24", "fd00:7::/64")
    spec = on_network(net, replicas=3)
    asked = [f"10.7.0.{n}" for n in (101, 102, 103)] + [f"fd00:7::{n}" for n in (101, 102, 103)]
    spec.task.networks[0].addresses.extend(asked)
    service_id = world.create_service(spec)
    world.settle()

    def given() -> dict[int, list[str]]:
        return {
            task.slot: [a.partition("/")[0] for a in task.networks[0].addresses]
            for task in world.running(service_id)
        }

    wanted = {slot: [f"10.7.0.10{slot}", f"fd00:7::10{slot}"] for slot in (1, 2, 3)}
    assert given() == wanted
    world.update_service(service_id, lambda s: s.task.container.env.append("A=b"))
    world.run(60)
    assert given() == wanted
    spec.annotations.name = "other"
    spec.replicated.replicas = 2
    spec.task.networks[0].addresses[:] = ["10.7.0.102", "10.7.0.110"]
    other = world.create_service(spec)
    spec.annotations.name = "outside"
    spec.task.networks[0].addresses[:] = ["10.9.0.1", "10.9.0.2"]
    outside = world.create_service(spec)
    world.settle()
    assert [task.slot for task in world.running(other)] == [2]
    errors = {t.slot: t.status.err for t in world.tasks(other) if t.status.err}
    assert errors == {1: "network a: address 10.7.0.102 is already in use"}
    assert {t.status.err for t in world.tasks(outside)} == {
        "network a: address 10.9.0.1 is in none of its subnets",
        "network a: address 10.9.0.2 is in none of its subnets",
    }
    world.remove_service(service_id)
    world.settle()
    assert sorted(task.slot for task in world.running(other)) == [1, 2]


def test_a_range_reserved_addresses_and_the_gateway_bound_what_is_given(world):
    """All of the range is given, and nothing else; then `service ps` says why a task waits."""
    net = Network(id="ranged")
    net.spec.annotations.name, net.spec.driver.name = "ranged", "overlay"
    config = net.spec.ipam.configs.add(subnet="10.7.0.0/16", range="10.7.9.0/29")
    config.gateway, config.reserved["printer"] = "10.7.9.1", "10.7.9.3"
    world.write(Put(net))
    service_id = world.create_service(on_network("ranged", replicas=7))
    world.settle()
    tasks = world.tasks(service_id)
    given = {a.partition("/")[0] for t in tasks for n in t.networks for a in n.addresses}
    vip = world.view.services.get(service_id).endpoint.virtual_ips[0].addr.partition("/")[0]
    assert given | {vip} == {f"10.7.9.{n}" for n in (0, 2, 4, 5, 6, 7)}
    waiting = {t.status.err for t in tasks if not t.networks}
    assert waiting == {"network ranged: no address left in 10.7.0.0/16"}


def on_network(*networks, replicas=1, **options):
    spec = service_spec(options.get("name", "web"), replicas=replicas)
    for target in networks:
        spec.task.networks.add(target=target, aliases=["w"])
    return spec


def test_services_get_a_vip_on_each_network_and_tasks_an_address(world):
    one, two = world.add_network("a"), world.add_network("b")
    spec = on_network(one, two)
    spec.endpoint.ports.add(target_port=80)
    service_id = world.create_service(spec)
    world.settle()
    service = world.view.services.get(service_id)
    (task,) = world.running(service_id)
    assert {v.network_id for v in service.endpoint.virtual_ips} == {one, two, "ingress"}
    assert [a.network_id for a in task.networks] == [one, two, "ingress"]
    assert list(task.networks[0].aliases) == ["w"]
    assert task.networks[0].mac == mac_of(
        int(ipaddress.ip_interface(task.networks[0].addresses[0]))
    )
    assert service.endpoint.ports[0].published_port == 30000
    assert task.endpoint == service.endpoint


def test_dnsrr_has_no_vip(world):
    spec = on_network(world.add_network("a"))
    spec.endpoint.mode = EndpointSpec.DNSRR
    service_id = world.create_service(spec)
    world.settle()
    assert not world.view.services.get(service_id).endpoint.virtual_ips
    assert len(world.running(service_id)) == 1


def test_the_networks_of_each_node_need_no_address(world):
    service_id = world.create_service(on_network("host"))
    world.settle()
    (task,) = world.running(service_id)
    assert (task.networks[0].network_name, list(task.networks[0].addresses)) == ("host", [])


def test_nodes_get_an_address_on_the_ingress_network(world):
    world.settle()
    attachments = [n.attachments[0] for n in world.view.nodes]
    assert len({a.addresses[0] for a in attachments}) == 3
    assert {a.network_name for a in attachments} == {"ingress"}


def test_a_full_subnet_is_said_in_the_tasks_and_filled_when_one_ends(world):
    tiny = world.add_network("tiny", "10.9.0.0/29")
    service_id = world.create_service(on_network(tiny, replicas=5))
    world.settle()
    waiting = [t for t in world.tasks(service_id) if t.status.state == NEW]
    assert len(world.running(service_id)) == 4
    assert [t.status.err for t in waiting] == ["network tiny: no address left in 10.9.0.0/29"]
    world.scale(service_id, 4)
    other = world.create_service(on_network(tiny, name="other"))
    world.settle()
    assert len(world.running(service_id)) == 4
    world.scale(service_id, 2)
    world.settle()
    assert len(world.running(other)) == 1


def test_a_port_that_is_taken_is_said_in_the_tasks(world):
    spec = service_spec("a")
    spec.endpoint.ports.add(target_port=80, published_port=8080)
    first = world.create_service(spec)
    spec.annotations.name = "b"
    second = world.create_service(spec)
    world.settle()
    assert world.tasks(second)[0].status.err == "port 8080 is already published by service a"
    world.remove_service(first)
    world.settle()
    assert world.running(second)[0].status.state == RUNNING


def test_services_share_a_port_on_addresses_of_their_own(world):
    def made(name: str, host_ip: str) -> str:
        spec = service_spec(name)
        spec.endpoint.ports.add(target_port=80, published_port=8080, host_ip=host_ip)
        return str(world.create_service(spec))

    shared = [made("a", "192.0.2.1"), made("b", "192.0.2.2")]
    again, everywhere = made("c", "192.0.2.1"), made("d", "0.0.0.0")
    world.settle()
    assert [world.running(s)[0].status.state for s in shared] == [RUNNING, RUNNING]
    for refused in (again, everywhere):
        assert world.tasks(refused)[0].status.err == ("port 8080 is already published by service a")
    world.remove_service(shared[0])
    world.settle()
    assert world.running(again)[0].status.state == RUNNING
    assert world.tasks(everywhere)[0].status.err == "port 8080 is already published by service b"


def test_an_automatic_port_stays_through_updates(world):
    spec = service_spec("a")
    spec.endpoint.ports.add(target_port=80)
    service_id = world.create_service(spec)
    world.settle()
    world.update_service(
        service_id, lambda s: s.endpoint.ports.add(target_port=81, protocol=PortConfig.UDP)
    )
    world.run(10)
    ports = world.view.services.get(service_id).endpoint.ports
    assert [(p.target_port, p.published_port) for p in ports] == [(80, 30000), (81, 30001)]


def test_an_ingress_network_that_is_made_again_heals_what_waits_for_it(world):
    ingress = world.view.networks.get("ingress")
    world.write(Delete(ingress))
    spec = service_spec("web")
    spec.endpoint.ports.add(target_port=80, published_port=8080)
    service_id = world.create_service(spec)
    world.run(5)
    assert world.tasks(service_id)[0].status.err == "network ingress does not exist"
    again = Network(id="ingress-2")
    again.spec.annotations.name = "ingress"
    again.spec.ingress = True
    world.write(Put(again))
    world.run(5)
    service = world.view.services.get(service_id)
    (task,) = world.running(service_id)
    assert task.status.state == RUNNING
    assert [v.network_id for v in service.endpoint.virtual_ips] == ["ingress-2"]
    assert [a.network_id for a in task.networks] == ["ingress-2"]
    assert all(n.attachments[0].network_id == "ingress-2" for n in world.view.nodes)


def test_a_network_without_a_subnet_is_named_in_its_tasks_with_whose_subnet_it_overlaps(world):
    """Two managers took both at the same moment."""
    world.add_network("front", "10.1.0.0/16")
    back = world.add_network("back", "10.1.2.0/24")
    service_id = world.create_service(on_network(back))
    world.settle()
    (task,) = world.tasks(service_id)
    assert task.status.err == (
        "network back: subnet 10.1.2.0/24 overlaps 10.1.0.0/16 of network front"
    )
