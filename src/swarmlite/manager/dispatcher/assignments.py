"""Which node has to know of what, and what changed of that: pure, from the store's events.

Every item belongs to a topic and every node follows topics: a network (its object, endpoints and
services), a secret, a config. A node follows what its live tasks name, and the ingress network.
`observe` marks; `flush` compares the marks with the view and answers what each node has to hear.
An event that is seen twice, or a view that is ahead of the events, changes nothing twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence, Set

from swarmlite.manager.isolation import apart
from swarmlite.manager.store.api import Event
from swarmlite.manager.store.tables import Tables
from swarmlite.model.encryption import is_encrypted
from swarmlite.model.references import config_ids, secret_ids
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Endpoint
from swarmlite.proto.objects_pb2 import Config, Network, Secret, Service, Task

from . import items
from .ingress_nodes import IngressChanges, Standing, all_of, difference, node_of, place_id
from .places import Places

KINDS = ("task", "node", "network", "service", "secret", "config")
Topic = tuple[str, str]  # ("network" | "secret" | "config", id)
Single = Network | Secret | Config


class Batch:
    """What one flush found; the nodes' changes are made of it."""

    def __init__(self, standing: Standing) -> None:
        self.ingress = IngressChanges(standing)
        self.before: dict[tuple[str, Topic], bool] = {}
        self.objects: set[Topic] = set()
        self.endpoints: defaultdict[str, set[str]] = defaultdict(set)
        self.services: dict[str, frozenset[str]] = {}  # id to the networks before
        self.tasks: defaultdict[str, dict[str, Task | None]] = defaultdict(dict)


class AssignmentSet:
    """Every node's assignments, as of the last flush."""

    def __init__(self) -> None:
        self._dirty: dict[str, dict[str, None]] = {kind: {} for kind in KINDS}
        self._tasks_to_take: deque[str] = deque()
        self._tasks: dict[str, Task] = {}
        self._needs: dict[str, tuple[str, frozenset[Topic]]] = {}  # of live tasks: node and topics
        self._follows: defaultdict[str, Counter[Topic]] = defaultdict(Counter)
        self._followers: defaultdict[Topic, set[str]] = defaultdict(set)
        self._nodes: set[str] = set()
        self._objects: dict[Topic, Single] = {}
        self._endpoints: defaultdict[str, dict[str, Endpoint]] = defaultdict(dict)
        self._task_endpoints: defaultdict[str, dict[str, Endpoint]] = defaultdict(dict)
        self._endpoints_of: dict[str, dict[str, Endpoint]] = {}  # by task or node
        self._services: dict[str, tuple[Service, frozenset[str]]] = {}
        self._services_of: defaultdict[str, set[str]] = defaultdict(set)
        self._ingress_id = ""
        self._encrypted: set[str] = set()
        self._places = Places()
        self._standing = Standing()
        self._batch = Batch(self._standing)

    # marking
    def reset(self, view: Tables) -> None:
        """Everything may have changed: events were lost."""
        objects = {kind: [i for k, i in self._objects if k == kind] for kind in KINDS}
        known: tuple[Iterable[str], ...] = (
            {*self._tasks, *self._needs},
            self._nodes,
            objects["network"],
            self._services,
            objects["secret"],
            objects["config"],
        )
        for kind, ids in zip(KINDS, known, strict=True):
            self._dirty[kind].update(dict.fromkeys(ids))
            self._dirty[kind].update((object_id, None) for object_id, _ in view.table(kind).items())

    def observe(self, events: Iterable[Event]) -> None:
        """Mark what the events are about."""
        for event in events:
            if event.kind in self._dirty:
                self._dirty[event.kind][event.obj.id] = None

    # deciding
    def flush(self, view: Tables, wanted: Iterable[str]) -> dict[str, list[AssignmentChange]]:
        """What each of the `wanted` nodes has to hear; those with nothing are left out."""
        while self.take(view):
            continue
        return self.render(wanted)

    def take(self, view: Tables, limit: int = 1_000_000) -> bool:
        """Compare marks with the view, `limit` tasks at most; answer whether there are more."""
        dirty, batch, tasks = self._dirty, self._batch, self._tasks_to_take
        self._dirty = {kind: {} for kind in KINDS}
        tasks.extend(dirty["task"])
        self._take_networks(view, dirty["network"], batch)
        for kind in ("secret", "config"):
            for object_id in dirty[kind]:
                self._take_object((kind, object_id), view.table(kind).get(object_id), batch)
        for node_id in dirty["node"]:
            apart("node", node_id, self._take_node, view, node_id, batch)
        for _ in range(min(limit, len(tasks))):
            task_id = tasks.popleft()
            apart("task", task_id, self._take_task, view, task_id, batch)
        for service_id in dirty["service"]:
            apart("service", service_id, self._take_service, view, service_id, batch)
        return bool(tasks)

    def render(self, wanted: Iterable[str]) -> dict[str, list[AssignmentChange]]:
        """What each of the `wanted` nodes has to hear of what was taken since the last time."""
        batch, self._batch = self._batch, Batch(self._standing)
        return self._render(batch, wanted)

    def complete(self, view: Tables, node_id: str) -> list[AssignmentChange]:
        """All that a node is assigned, as of the last flush; call it right after one."""
        batch = Batch(self._standing)
        for topic in self._follows.get(node_id, ()):
            batch.before[node_id, topic] = False
        for task in view.tasks.of_node(node_id).values():
            if task.id in self._tasks:
                batch.tasks[node_id][task.id] = self._tasks[task.id]
        return self._render(batch, [node_id]).get(node_id, [])

    # taking in what is dirty
    def _take_networks(self, view: Tables, dirty: Iterable[str], batch: Batch) -> None:
        for network_id in dirty:
            network = view.networks.get(network_id)
            if network is not None and items.awaits_subnet(network):
                network = None
            self._take_object(("network", network_id), network, batch)
            if is_encrypted(network):
                self._encrypted.add(network_id)
            else:
                self._encrypted.discard(network_id)
        ingress_id = next((n.id for n in view.networks if n.spec.ingress), "")
        if ingress_id != self._ingress_id:
            for node_id in self._nodes:
                self._follow(node_id, [("network", ingress_id)] if ingress_id else [], batch)
                old = self._ingress_id
                self._unfollow(node_id, [("network", old)] if old else [], batch)
            self._ingress_id = self._standing.ingress_id = ingress_id
            # Also those that were nowhere while there was no such network.
            for service_id in {*self._services, *(s.id for s in view.services)}:
                self._take_service(view, service_id, batch)

    def _take_object(self, topic: Topic, obj: Single | None, batch: Batch) -> None:
        if obj is None:
            if self._objects.pop(topic, None) is not None:
                batch.objects.add(topic)
        elif obj is not self._objects.get(topic):
            self._objects[topic] = obj
            batch.objects.add(topic)

    def _take_node(self, view: Tables, node_id: str, batch: Batch) -> None:
        node = view.nodes.get(node_id)
        if (node is not None) != (node_id in self._nodes) and self._ingress_id:
            move = self._follow if node else self._unfollow
            move(node_id, [("network", self._ingress_id)], batch)
        batch.ingress.note(node_id)
        self._standing.take_node(node_id, node)
        if node is None:
            self._nodes.discard(node_id)
        else:
            self._nodes.add(node_id)
        self._put_endpoints(node_id, items.node_endpoints(node) if node else (), batch)
        for changed in (node_id, *self._places.take(node_id, node)):
            for task in view.tasks.of_node(changed).values():
                if task.networks:
                    self._put_endpoints(task.id, self._endpoints_for(view, task), batch)

    def _endpoints_for(self, view: Tables, task: Task) -> Iterable[Endpoint]:
        keyed = self._encrypted if self._places.holds(task.node_id) else ()
        return items.task_endpoints(task, view.nodes.get(task.node_id), keyed)

    def _take_task(self, view: Tables, task_id: str, batch: Batch) -> None:
        task, old = view.tasks.get(task_id), self._tasks.get(task_id)
        if task is not None and not items.is_assigned(task):
            task = None
        sent = task if task is not None and items.is_sent(task) else None
        if sent is not old:
            if sent is None:
                assert old is not None
                del self._tasks[task_id]
                batch.tasks[old.node_id][task_id] = None
            else:
                self._tasks[task_id] = sent
                if old is None or items.task_changed(old, sent):
                    batch.tasks[sent.node_id][task_id] = sent
        self._take_needs(task_id, task, batch)
        needs = self._needs.get(task_id)
        if (needs and needs[1]) or task_id in self._endpoints_of:
            self._put_endpoints(task_id, self._endpoints_for(view, task) if task else (), batch)

    def _take_needs(self, task_id: str, task: Task | None, batch: Batch) -> None:
        known = self._needs.get(task_id)
        live = task is not None and items.is_live(task)
        if live == (known is not None):
            return  # what a task names never changes
        if task is not None and live:
            needs = frozenset(_topics(task))
            self._needs[task_id] = (task.node_id, needs)
            self._follow(task.node_id, needs, batch)
        elif known is not None:
            del self._needs[task_id]
            self._unfollow(*known, batch)

    def _take_service(self, view: Tables, service_id: str, batch: Batch) -> None:
        service = view.services.get(service_id)
        known = self._services.get(service_id)
        before = known[1] if known else frozenset()
        networks = items.service_networks(service, self._ingress_id) if service else frozenset()
        if known and service and networks == before and _looks_same(known[0], service, networks):
            self._services[service_id] = (service, networks)
            return
        for network_id in before - networks:
            self._services_of[network_id].discard(service_id)
        for network_id in networks - before:
            self._services_of[network_id].add(service_id)
        if service is None or not networks:
            self._services.pop(service_id, None)
        else:
            self._services[service_id] = (service, networks)
        if before or networks:
            batch.services.setdefault(service_id, before)

    def _put_endpoints(self, owner: str, endpoints: Iterable[Endpoint], batch: Batch) -> None:
        old = self._endpoints_of.get(owner, {})
        new = {endpoint.id: endpoint for endpoint in endpoints}
        self._count(old, new, batch)
        for endpoint_id, endpoint in old.items():
            if endpoint_id not in new:
                self._endpoints[endpoint.network_id].pop(endpoint_id, None)
                self._task_endpoints[endpoint.network_id].pop(endpoint_id, None)
                batch.endpoints[endpoint.network_id].add(endpoint_id)
        for endpoint_id, endpoint in new.items():
            if old.get(endpoint_id) != endpoint:
                self._endpoints[endpoint.network_id][endpoint_id] = endpoint
                if endpoint.task_id:
                    self._task_endpoints[endpoint.network_id][endpoint_id] = endpoint
                batch.endpoints[endpoint.network_id].add(endpoint_id)
        if new:
            self._endpoints_of[owner] = new
        else:
            self._endpoints_of.pop(owner, None)

    def _count(self, old: dict[str, Endpoint], new: dict[str, Endpoint], batch: Batch) -> None:
        for endpoints, step in ((old, -1), (new, 1)):
            for endpoint in endpoints.values():
                batch.ingress.note(endpoint.node_id)
                self._standing.count(endpoint, step)

    def _follow(self, node_id: str, topics: Iterable[Topic], batch: Batch) -> None:
        counts = self._follows[node_id]
        for topic in topics:
            counts[topic] += 1
            if counts[topic] == 1:
                batch.before.setdefault((node_id, topic), False)
                self._followers[topic].add(node_id)

    def _unfollow(self, node_id: str, topics: Iterable[Topic], batch: Batch) -> None:
        counts = self._follows[node_id]
        for topic in topics:
            counts[topic] -= 1
            if counts[topic] <= 0:
                del counts[topic]
                batch.before.setdefault((node_id, topic), True)
                self._followers[topic].discard(node_id)
        if not counts:
            del self._follows[node_id]

    # rendering
    def _render(self, batch: Batch, wanted: Iterable[str]) -> dict[str, list[AssignmentChange]]:
        nodes = set(wanted)
        out = _Outbox(self, batch)
        for (node_id, topic), before in batch.before.items():
            if node_id in nodes:
                after = node_id in self._followers[topic]
                if after and not before:
                    out.joined(node_id, topic)
                elif before and not after:
                    out.left(node_id, topic)
        topics = batch.objects | {("network", n) for n in batch.endpoints}
        if self._ingress_id and batch.ingress.regrouped():
            topics.add(("network", self._ingress_id))
        for topic in topics:
            followers: Set[str] = self._followers[topic] & nodes
            if self.is_ingress(topic) and topic not in batch.objects:
                fresh = batch.endpoints.get(topic[1], ())
                if all(map(node_of, fresh)):
                    followers = batch.ingress.concerned(followers, fresh)
            stayed = [n for n in followers if batch.before.get((n, topic), True)]
            if stayed:
                out.changed(stayed, topic)
        for service_id, networks_before in batch.services.items():
            current = self._services[service_id][1] if service_id in self._services else frozenset()
            for network_id in networks_before | current:
                for node_id in self._followers[("network", network_id)] & nodes:
                    out.services[node_id].add(service_id)
        for node_id in batch.tasks.keys() & nodes:
            out.tasks[node_id] = batch.tasks[node_id]
        return out.changes()

    # what the outbox reads
    def is_ingress(self, topic: Topic) -> bool:
        """Whether the topic is the ingress network, of which nodes know different parts."""
        return topic == ("network", self._ingress_id)

    def endpoints_on(self, network_id: str) -> dict[str, Endpoint]:
        """All on one network, by id."""
        return self._endpoints[network_id]

    def topic_items(self, topic: Topic) -> Sequence[Single | Endpoint]:
        """The items of a topic but for services, which differ from node to node."""
        single = self._objects.get(topic)
        endpoints = self._endpoints[topic[1]].values() if topic[0] == "network" else ()
        return [*([single] if single is not None else []), *endpoints]

    def places_for(self, node_id: str) -> list[Endpoint]:
        """What a node that knows nothing yet is to know of the ingress network's endpoints."""
        ingress_id = self._ingress_id
        endpoints, tasks = self._endpoints[ingress_id], self._task_endpoints[ingress_id]
        return all_of(self._standing, node_id, endpoints, tasks)

    def endpoint(self, network_id: str, endpoint_id: str) -> Endpoint | None:
        """One endpoint."""
        return self._endpoints[network_id].get(endpoint_id)

    def object(self, topic: Topic) -> Single | None:
        """The object that a topic is of."""
        return self._objects.get(topic)

    def services_of(self, network_id: str) -> set[str]:
        """The services on a network."""
        return self._services_of[network_id]

    def service(self, node_id: str, service_id: str) -> tuple[Service, frozenset[str]] | None:
        """A service and those of its networks that the node follows; None where there are none."""
        known = self._services.get(service_id)
        if known is None:
            return None
        mine = frozenset(n for n in known[1] if node_id in self._followers[("network", n)])
        return (known[0], mine) if mine else None


class _Outbox:
    """One flush in each node's order: what tasks need, the tasks, what they no longer need."""

    def __init__(self, known: AssignmentSet, batch: Batch) -> None:
        self._known = known
        self._batch = batch
        self._needs: defaultdict[str, list[AssignmentChange]] = defaultdict(list)
        self._removals: defaultdict[str, list[AssignmentChange]] = defaultdict(list)
        self.services: defaultdict[str, set[str]] = defaultdict(set)
        self.tasks: dict[str, dict[str, Task | None]] = {}
        self._topics: dict[Topic, list[AssignmentChange]] = {}
        self._places: dict[str, AssignmentChange] = {}
        self._rendered: dict[tuple[str, frozenset[str]], AssignmentChange] = {}

    def joined(self, node_id: str, topic: Topic) -> None:
        """The node gets all of a topic."""
        if self._known.is_ingress(topic):
            self._needs[node_id] += self._joined_ingress(node_id, topic)
            self.services[node_id] |= self._known.services_of(topic[1])
            return
        if topic not in self._topics:
            self._topics[topic] = [items.update(item) for item in self._known.topic_items(topic)]
        self._needs[node_id] += self._topics[topic]
        if topic[0] == "network":
            self.services[node_id] |= self._known.services_of(topic[1])

    def _joined_ingress(self, node_id: str, topic: Topic) -> list[AssignmentChange]:
        network = self._known.object(topic)
        found = [self._update(endpoint) for endpoint in self._known.places_for(node_id)]
        return [*([items.update(network)] if network is not None else []), *found]

    def _update(self, endpoint: Endpoint) -> AssignmentChange:
        found = self._places.get(endpoint.id)
        if found is None:
            found = self._places[endpoint.id] = items.update(endpoint)
        return found

    def left(self, node_id: str, topic: Topic) -> None:
        """The node forgets all of a topic, what was removed from it just now included."""
        kind, object_id = topic
        if kind == "network":
            gone = {e.id for e in self._known.topic_items(topic) if isinstance(e, Endpoint)}
            gone |= self._batch.endpoints.get(object_id, set())
            self._removals[node_id] += [items.remove("endpoint", i) for i in sorted(gone)]
            self.services[node_id] |= self._known.services_of(object_id)
            self.services[node_id] |= {
                s for s, before in self._batch.services.items() if object_id in before
            }
        self._removals[node_id].append(items.remove(kind, object_id))

    def changed(self, node_ids: Sequence[str], topic: Topic) -> None:
        """These nodes go on following a topic in which something changed."""
        needs: list[AssignmentChange] = []
        removals: list[AssignmentChange] = []
        if topic in self._batch.objects:
            obj = self._known.object(topic)
            (needs if obj else removals).append(items.update(obj) if obj else items.remove(*topic))
        if topic[0] == "network":
            ingress = self._known.is_ingress(topic)
            for endpoint_id in self._batch.endpoints.get(topic[1], ()):
                if ingress and node_of(endpoint_id):
                    continue  # differs from node to node, see below
                endpoint = self._known.endpoint(topic[1], endpoint_id)
                if endpoint is not None:
                    needs.append(items.update(endpoint))
                else:
                    # Before the object's own removal, which stands first.
                    removals.insert(0, items.remove("endpoint", endpoint_id))
        for node_id in node_ids if needs or removals else ():
            self._needs[node_id] += needs
            self._removals[node_id] += removals
        if self._known.is_ingress(topic):
            self._changed_places(node_ids, topic[1])

    def _changed_places(self, node_ids: Sequence[str], network_id: str) -> None:
        changes, endpoints = self._batch.ingress, self._known.endpoints_on(network_id)
        fresh = {i for i in self._batch.endpoints.get(network_id, ()) if node_of(i)}
        regrouped = {place_id(network_id, node) for node in changes.regrouped()}
        for node_id in node_ids:
            updates, gone = difference(changes, node_id, endpoints, fresh, regrouped)
            if updates:
                self._needs[node_id] += [self._update(endpoint) for endpoint in updates]
            if gone:  # before the network's own removal
                self._removals[node_id][:0] = [items.remove("endpoint", i) for i in gone]

    def changes(self) -> dict[str, list[AssignmentChange]]:
        """Every node's changes, in the order to apply them."""
        nodes = {*self._needs, *self._removals, *self.services, *self.tasks}
        return {node_id: found for node_id in nodes if (found := self._of(node_id))}

    def _of(self, node_id: str) -> list[AssignmentChange]:
        services, gone = self._services_of(node_id)
        tasks = [
            items.remove("task", task_id) if task is None else items.update(task)
            for task_id, task in self.tasks.get(node_id, {}).items()
        ]
        needs, removals = self._needs.get(node_id, []), self._removals.get(node_id, [])
        return [*needs, *services, *tasks, *gone, *removals]

    def _services_of(self, node_id: str) -> tuple[list[AssignmentChange], list[AssignmentChange]]:
        updates, removals = [], []
        for service_id in sorted(self.services.get(node_id, ())):
            found = self._known.service(node_id, service_id)
            if found is None:
                removals.append(items.remove("virtual_service", service_id))
                continue
            key = (service_id, found[1])
            if key not in self._rendered:
                self._rendered[key] = items.update(items.virtual_service(*found))
            updates.append(self._rendered[key])
        return updates, removals


def _topics(task: Task) -> Iterable[Topic]:
    yield from (("network", a.network_id) for a in task.networks)
    yield from (("secret", i) for i in secret_ids(task.spec))
    yield from (("config", i) for i in config_ids(task.spec))


def _looks_same(old: Service, new: Service, networks: frozenset[str]) -> bool:
    """Whether nodes see no difference: an update of only the replicas, say."""
    return items.virtual_service(old, networks) == items.virtual_service(new, networks)
