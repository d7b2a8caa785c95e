// Drives the simulator with salesforce-pubsub-api-client: signs in, subscribes to User change events, changes a user with
// jsforce, and decodes the event. Prints one JSON line with the decoded event; any surprise is a non-zero exit.
//
// Arguments: the JSON line that the simulator prints; the file with the private key for the JWT bearer flow, if any.
// The client verifies with its own certificate bundle, which cannot know the simulator's authority: it is told not to verify.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import jsforce from 'jsforce';
import PubSubApiClient from 'salesforce-pubsub-api-client';

const TOPIC = '/data/UserChangeEvent';
const PATIENCE_MS = 20_000;
const sim = JSON.parse(process.argv[2]);
const keyFile = process.argv[3];

const quiet = { debug() {}, info() {}, warn: console.error, error: console.error };
const login = keyFile
  ? { authType: 'oauth-jwt-bearer', username: sim.username, privateKey: readFileSync(keyFile) }
  : { authType: 'oauth-client-credentials', clientSecret: sim.clientSecret };

async function connected() {
  const client = new PubSubApiClient(
    {
      ...login,
      loginUrl: sim.http,
      clientId: sim.clientId,
      pubSubEndpoint: new URL(sim.grpc).host,
      rejectUnauthorizedSsl: false,
    },
    quiet,
  );
  await client.connect();
  return client;
}
const client = await connected();

const connection = new jsforce.Connection({ version: '66.0', instanceUrl: sim.http, accessToken: sim.accessToken });
const [person] = await connection
  .sobject('User')
  .find({ UserType: 'Standard', IsActive: true, 'Profile.Name': 'Service User' }, ['Id'])
  .sort({ Id: 1 })
  .limit(1);

/** Resolves with the next `count` events. `start` opens the subscription, `then` runs once it is surely open. */
function events(count, start, then = async () => {}) {
  return new Promise((resolve, reject) => {
    const seen = [];
    const timer = setTimeout(() => reject(new Error(`${seen.length} of ${count} events in time`)), PATIENCE_MS);
    start((_subscription, type, data) => {
      if (type === 'event') {
        seen.push(data);
        if (seen.length === count) {
          clearTimeout(timer);
          resolve(seen);
        }
      } else if (type === 'error') {
        clearTimeout(timer);
        reject(data);
      }
    });
    then().catch(reject);
  });
}

const change = { FirstName: 'Žofie', Department: null, IsActive: false, Level__c: 4.5 };
// The event is made after the subscription has been answered by a keepalive or after a while: LATEST has a blind start.
const [event] = await events(
  1,
  (callback) => client.subscribe(TOPIC, callback, 3),
  async () => {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await connection.sobject('User').update({ Id: person.Id, ...change });
  },
);

const header = event.payload.ChangeEventHeader;
assert.deepEqual(header.recordIds, [person.Id]);
assert.equal(header.changeType, 'UPDATE');
for (const field of ['Name.FirstName', 'Department', 'IsActive', 'Level__c', 'LastModifiedDate']) {
  assert.ok(header.changedFields.includes(field), `${field} in ${header.changedFields}`);
}
assert.deepEqual(header.nulledFields, ['Department']);
assert.equal(event.payload.Name.FirstName, change.FirstName);
assert.equal(event.payload.IsActive, false);
assert.equal(event.payload.Level__c, 4.5);
assert.equal(event.payload.Username, null);

// Three events were asked for and one came: two are owed, and asking for more adds to them on the same stream.
await connection.sobject('User').update({ Id: person.Id, Title: 'Between' });
client.requestAdditionalEvents(TOPIC, 1);
client.close();

// Resuming after that event, on a stream of its own, gives the ones after it.
const later = await connected();
await connection.sobject('User').update({ Id: person.Id, Title: 'Next' });
const [between, next] = await events(2, (callback) => later.subscribeFromReplayId(TOPIC, callback, 3, event.replayId));
assert.equal(between.payload.Title, 'Between');
assert.equal(next.payload.Title, 'Next');
later.close();
console.log(JSON.stringify({ updated: person.Id, changed: header.changedFields }));
process.exit(0);
