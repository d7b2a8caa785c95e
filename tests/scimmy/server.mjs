// A SCIM server from scimmy and scimmy-routers, libraries that others wrote, with storage in memory.
//
// Filters, PATCH, paging, headers and validation are the libraries'. Storage, 404 and the refusal of a user name that is taken are
// ours. Arguments: the bearer token. Prints one JSON line with its address when it serves.

import { randomUUID } from "node:crypto";
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const [token] = process.argv.slice(2);

/** Handlers over a map; `unique` names the attribute that no two resources may share, whatever its case. */
function stored(unique) {
  const rows = new Map();
  const missing = (id) => new SCIMMY.Types.Error(404, null, `Resource ${id} not found`);
  return {
    egress(resource) {
      if (resource.id) {
        if (!rows.has(resource.id)) throw missing(resource.id);
        return rows.get(resource.id);
      }
      const all = [...rows.values()];
      return resource.filter ? resource.filter.match(all) : all;
    },
    ingress(resource, instance) {
      const id = resource.id ?? randomUUID();
      if (resource.id && !rows.has(id)) throw missing(id);
      const value = instance[unique]?.toLowerCase();
      const taken = [...rows.values()].some((row) => row.id !== id && row[unique].toLowerCase() === value);
      if (taken) throw new SCIMMY.Types.Error(409, "uniqueness", `${unique} is taken`);
      const row = { ...JSON.parse(JSON.stringify(instance)), id };
      rows.set(id, row);
      return row;
    },
    degress(resource) {
      if (!rows.delete(resource.id)) throw missing(resource.id);
    },
  };
}

const users = stored("userName");
SCIMMY.Resources.User.extend(SCIMMY.Schemas.EnterpriseUser);
SCIMMY.Resources.declare(SCIMMY.Resources.User, users);

const app = express();
app.use(
  "/scim",
  new SCIMMYRouters({
    type: "bearer",
    docUri: "http://127.0.0.1/docs",
    handler: (request) => {
      if (request.header("Authorization") !== `Bearer ${token}`) throw new Error("Authorization not present");
      return "test";
    },
  }),
);
const server = app.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ base_url: `http://127.0.0.1:${server.address().port}/scim` }));
});
