// Hyperswarm in a private HyperDHT of 10 nodes on loopback: two swarms in a process each find one another under
// a topic and connect; then a message of 100 bytes there and back, and as many as go one way. One JSON line.
//
//     node hyperswarm.mjs FOLDER-WITH-node_modules [MESSAGES]
import { createRequire } from 'node:module'
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { resolve } from 'node:path'

const [, , folder, count = '20000', bootstrap, topicHex] = process.argv
const require = createRequire(resolve(folder) + '/')
const Hyperswarm = require('hyperswarm')
const BYTES = 100
const MESSAGES = Number(count)

const cpuUs = () => {
  const used = process.cpuUsage()
  return used.user + used.system
}

if (bootstrap) await receiver()
else await sender()

async function receiver () { // echoes what begins with 1, counts the rest
  const swarm = new Hyperswarm({ bootstrap: JSON.parse(bootstrap) })
  swarm.on('connection', (stream) => {
    stream.on('error', () => {})
    let taken = 0
    stream.on('data', (data) => {
      if (data[0] === 1) return stream.write(data)
      taken += data.byteLength
      if (taken >= MESSAGES * BYTES) process.send({ cpuUs: cpuUs() })
    })
  })
  swarm.join(Buffer.from(topicHex, 'hex'), { server: true, client: false })
  await swarm.flush()
  process.send('ready')
  process.on('message', async () => {
    await swarm.destroy()
    process.exit(0)
  })
}

async function sender () {
  const testnet = await require('hyperdht/testnet')(10)
  const topic = Buffer.alloc(32, 7)
  const other = fork(fileURLToPath(import.meta.url), [
    folder, count, JSON.stringify(testnet.bootstrap), topic.toString('hex')
  ])
  await new Promise((resolve) => other.once('message', resolve))
  const swarm = new Hyperswarm({ bootstrap: testnet.bootstrap })
  const began = performance.now()
  const connected = new Promise((resolve) => swarm.once('connection', resolve))
  swarm.join(topic, { server: false, client: true })
  const stream = await connected
  const connectMs = performance.now() - began
  stream.on('error', () => {})

  const trips = []
  const ping = Buffer.alloc(BYTES, 1)
  for (let n = 0; n < 500; n++) {
    const sent = performance.now()
    stream.write(ping)
    await new Promise((resolve) => stream.once('data', resolve))
    trips.push(performance.now() - sent)
  }
  trips.sort((a, b) => a - b)

  const done = new Promise((resolve) => other.once('message', resolve))
  const message = Buffer.alloc(BYTES, 2)
  const used = cpuUs()
  const start = performance.now()
  for (let n = 0; n < MESSAGES; n++) {
    if (!stream.write(message)) await new Promise((resolve) => stream.once('drain', resolve))
  }
  await done
  const seconds = (performance.now() - start) / 1000
  console.log(JSON.stringify({
    connect_ms: connectMs,
    round_trip_ms: trips[trips.length >> 1],
    messages_per_s: MESSAGES / seconds,
    cpu_us_sender: (cpuUs() - used) / MESSAGES
  }))
  other.send('end')
  await swarm.destroy()
  await testnet.destroy()
  process.exit(0)
}
