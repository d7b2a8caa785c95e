// Drives the simulator with jsforce: signs in, queries over several batches, reads, describes, runs a report, changes a
// user, and meets a refusal. Prints one JSON line with what it saw; any surprise is a non-zero exit.
//
// Argument: the JSON line that the simulator prints.

import assert from 'node:assert/strict';
import jsforce from 'jsforce';

const sim = JSON.parse(process.argv[2]);

const connection = new jsforce.Connection({
  version: '66.0',
  oauth2: { loginUrl: sim.http, clientId: sim.clientId, clientSecret: sim.clientSecret },
});
const who = await connection.authorize({ grant_type: 'client_credentials' });
assert.equal(who.organizationId, sim.orgId);
assert.equal(connection.instanceUrl, sim.http);

const identity = await connection.identity();
assert.equal(identity.username, sim.username);

// autoFetch follows nextRecordsUrl until the answer is done.
const { records: everybody } = await connection
  .query("SELECT Id, Username, Manager.Email, Profile.Name, CreatedDate FROM User ORDER BY Id")
  .execute({ autoFetch: true, maxFetch: 100000 });
const ids = everybody.map((user) => user.Id);
assert.equal(new Set(ids).size, ids.length);

const [person] = await connection
  .sobject('User')
  .find({ UserType: 'Standard', IsActive: true, 'Profile.Name': 'Sales User' }, ['Id', 'Username', 'Title'])
  .sort({ Id: 1 })
  .limit(1);

const description = await connection.describe('User');
assert.ok(description.fields.some((field) => field.name === 'Badge__c' && field.custom));

const saved = await connection.sobject('User').update({ Id: person.Id, Title: 'Chief “Æther” Officer', Badge__c: null });
assert.equal(saved.success, true);
const read = await connection.sobject('User').retrieve(person.Id);
assert.equal(read.Title, 'Chief “Æther” Officer');
assert.equal(read.Badge__c, null);

const many = await connection.sobject('User').retrieve(ids.slice(0, 5));
assert.deepEqual(many.map((user) => user.Id), ids.slice(0, 5));

await assert.rejects(
  connection.sobject('User').update({ Id: ids[0], Username: person.Username }),
  (error) => error.errorCode === 'DUPLICATE_USERNAME' || error.name === 'DUPLICATE_USERNAME',
);
await assert.rejects(connection.query('SELECT Nope FROM User'), (error) => error.errorCode === 'INVALID_FIELD');

const reports = await connection.analytics.reports();
const report = reports.find((entry) => entry.name === 'All Users');
const run = await connection.analytics.report(report.id).execute({ details: true });
assert.equal(run.reportMetadata.reportFormat, 'TABULAR');

const limits = await connection.limits();
assert.ok(limits.DailyApiRequests.Remaining < limits.DailyApiRequests.Max);
assert.equal(connection.limitInfo.apiUsage.limit, limits.DailyApiRequests.Max);

console.log(JSON.stringify({ users: ids.length, updated: person.Id, reportRows: run.factMap['T!T'].rows.length }));
