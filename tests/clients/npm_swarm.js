// dockerode on a swarm, in the way of Dokploy: services are made, inspected and updated whole.
const Docker = require('dockerode');
const assert = require('assert');

const docker = new Docker({ socketPath: process.env.SOCKET });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function settings(name, networkId, env) {
  return {
    Name: name,
    TaskTemplate: {
      ContainerSpec: {
        Image: process.env.IMAGE,
        Command: ['sleep'],
        Args: ['1000'],
        Env: env,
        Labels: { owner: 'dokploy' },
        Mounts: [{ Type: 'volume', Source: `${name}-data`, Target: '/data' }],
        StopGracePeriod: 1000000000,
      },
      Networks: [{ Target: networkId }],
      Placement: { Constraints: ['node.role==manager'] },
      Resources: { Limits: { MemoryBytes: 64 << 20 }, Reservations: {} },
      RestartPolicy: { Condition: 'on-failure' },
    },
    Mode: { Replicated: { Replicas: 1 } },
    EndpointSpec: {
      Mode: 'dnsrr',
      Ports: [{ TargetPort: 80, PublishedPort: 8095, Protocol: 'tcp', PublishMode: 'host' }],
    },
    UpdateConfig: { Parallelism: 1, Order: 'stop-first' },
  };
}

async function running(service, count) {
  for (let tries = 0; tries < 600; tries += 1) {
    const tasks = await docker.listTasks({
      filters: JSON.stringify({ service: [service], 'desired-state': ['running'] }) });
    if (tasks.filter((task) => task.Status.State === 'running').length === count) return tasks;
    await sleep(100);
  }
  throw new Error(`${service} does not run`);
}

async function main() {
  const info = await docker.info();
  assert.strictEqual(info.Swarm.LocalNodeState, 'active');
  assert.match((await docker.swarmInspect()).JoinTokens.Manager, /^SWMTKN-1-/);
  const nodes = await docker.listNodes();
  assert.strictEqual(nodes.length, 3);
  const node = docker.getNode(nodes.find((each) => each.Spec.Role === 'worker').ID);
  const before = await node.inspect();
  await node.update({ version: String(before.Version.Index), ...before.Spec, Labels: { a: 'b' } });
  assert.deepStrictEqual((await node.inspect()).Spec.Labels, { a: 'b' });

  const network = await docker.createNetwork({ Name: 'dokploy-network', Driver: 'overlay', Attachable: true });
  const short = settings('app', network.id, ['A=b']);
  await docker.createService(short);
  await running('app', 1);
  const service = docker.getService('app');
  const made = await service.inspect();
  // The whole spec goes into the URL as well: 200 variables are more than 8 KB of it.
  const env = Array.from({ length: 200 }, (_, index) => `VARIABLE_${index}=${'x'.repeat(100)}`);
  const long = settings('app', network.id, env);
  await service.update({
    version: Number.parseInt(made.Version.Index),
    ...long,
    TaskTemplate: { ...long.TaskTemplate, ForceUpdate: made.Spec.TaskTemplate.ForceUpdate + 1 },
  });
  const updated = await service.inspect();
  assert.strictEqual(updated.Spec.TaskTemplate.ContainerSpec.Env.length, 200);
  assert.strictEqual(updated.Spec.TaskTemplate.ForceUpdate, 1);
  const [task] = await running('app', 1);
  assert.strictEqual(task.Spec.ContainerSpec.Env.length, 200);

  const containers = await docker.listContainers({
    filters: JSON.stringify({ status: ['running'], label: ['com.docker.swarm.service.name=app'] }) });
  assert.strictEqual(containers.length, 1);
  const container = docker.getContainer(containers[0].Id);
  const exec = await container.exec({ Cmd: ['echo', 'out'], AttachStdout: true, AttachStderr: true });
  const stream = await exec.start({ hijack: true, stdin: false });
  let said = Buffer.alloc(0);
  stream.on('data', (part) => { said = Buffer.concat([said, part]); });
  await new Promise((resolve) => stream.on('end', resolve));
  assert.strictEqual(said.subarray(8).toString(), 'out\n');
  const stats = await container.stats({ stream: false });
  assert.ok(stats.memory_stats.usage > 0);
  assert.ok(Buffer.isBuffer(await service.logs({ stdout: true, stderr: true })) || true);

  await service.remove();
  for (let tries = 0; tries < 300; tries += 1) {
    if ((await docker.listContainers({ all: true })).length === 0) break;
    await sleep(100);
  }
  await network.remove();
  console.log('done');
}
main().catch((error) => { console.error(error); process.exit(1); });
