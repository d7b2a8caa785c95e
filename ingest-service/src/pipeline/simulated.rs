//! What a replica needs, against a simulated org; for tests.

use std::path::Path;

use salesforce_sim::Sim;
use usher_runtime::admin::Readiness;

use super::Parts;
use crate::{app, config::Deployment};

/// The parts for this org. `more`: further sections of the configuration, as YAML. `folder` holds its files.
pub(super) fn parts(sim: &Sim, folder: &Path, more: &str) -> Parts {
    let (secret, file) = (folder.join("secret"), folder.join("ingest.yaml"));
    std::fs::write(&secret, sim.client_secret()).unwrap();
    let text = format!(
        "salesforce: {{ url: '{}', auth: {{ method: clientCredentials, clientId: '{}', clientSecret: {{ file: '{}' }} }} }}\n\
         pubsub: {{ endpoint: '{}' }}\n{more}\n",
        sim.http_url(),
        sim.client_id(),
        secret.display(),
        sim.grpc_url()
    );
    std::fs::write(&file, text).unwrap();
    let deployment = Deployment::load(Some(&file), &[]).unwrap();
    let parts = app::parts(&deployment, &Readiness::default(), &prometheus::Registry::new()).unwrap();
    parts.into_iter().next().unwrap()
}
