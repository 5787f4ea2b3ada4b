// testcontainers of npm: a server on a network of its own, waited for, asked, copied from; reuse.
const { GenericContainer, Network, Wait } = require('testcontainers');
const assert = require('assert');

const serve = 'mkdir -p /www; echo it works >/www/index.html; echo ready; exec httpd -f -h /www';

async function main() {
  const image = process.env.IMAGE;
  const network = await new Network().start();
  const server = await new GenericContainer(image)
    .withCommand(['sh', '-c', serve])
    .withExposedPorts(80)
    .withNetwork(network)
    .withNetworkAliases('server')
    .withCopyContentToContainer([{ content: 'copied', target: '/tmp/copied' }])
    .withHealthCheck({ test: ['CMD', 'true'], interval: 1000, retries: 5 })
    .withWaitStrategy(Wait.forAll([
      Wait.forLogMessage('ready'), Wait.forHealthCheck(), Wait.forSuccessfulCommand('true')]))
    .start();
  const client = await new GenericContainer(image)
    .withCommand(['sleep', '1000'])
    .withNetwork(network)
    .start();
  const found = await client.exec(['wget', '-qO-', 'http://server/']);
  assert.deepStrictEqual([found.exitCode, found.stdout], [0, 'it works\n']);
  const copied = await server.exec('cat /tmp/copied');
  assert.strictEqual(copied.output, 'copied');
  const answer = await fetch(`http://${server.getHost()}:${server.getMappedPort(80)}/`);
  assert.strictEqual(await answer.text(), 'it works\n');
  await client.stop();
  await server.stop();
  await network.stop();

  const start = () => new GenericContainer(image).withCommand(['sleep', '1000']).withReuse().start();
  const [first, second] = [await start(), await start()];
  assert.strictEqual(first.getId(), second.getId());
  await first.stop();
  console.log('done');
}
main().catch((error) => { console.error(error); process.exit(1); });
