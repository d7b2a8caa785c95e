//! Credentials that the platform gives the process, taken from its environment.
//!
//! Guarantee: only who we are is taken from there, and where to ask for it. Where the bucket is, and how it is reached, stands in the
//! policy alone: a variable that was set for another tool (`AWS_ENDPOINT_URL_S3`, `GOOGLE_BASE_URL`, `AZURE_STORAGE_ENDPOINT`)
//! must not lead the list elsewhere. The crate's own `from_env` would take them, and they would win.

use std::{ffi::OsString, str::FromStr};

/// Of S3: keys, roles of containers and pods, web identity.
pub(super) const S3: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_IMDSV1_FALLBACK",
    "AWS_METADATA_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
];

/// Of Google Cloud Storage: key files of service accounts, and tokens.
pub(super) const GCS: &[&str] = &[
    "SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BEARER_TOKEN",
];

/// Of Azure: keys, clients, managed and workload identities.
pub(super) const AZURE: &[&str] = &[
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_TENANT_ID",
    "AZURE_TENANT_ID",
    "AZURE_STORAGE_AUTHORITY_ID",
    "AZURE_AUTHORITY_ID",
    "AZURE_STORAGE_AUTHORITY_HOST",
    "AZURE_AUTHORITY_HOST",
    "AZURE_MSI_ENDPOINT",
    "AZURE_IDENTITY_ENDPOINT",
    "IDENTITY_ENDPOINT",
    "AZURE_OBJECT_ID",
    "AZURE_MSI_RESOURCE_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_USE_AZURE_CLI",
];

/// Those of the variables that are named, as keys of a store's builder.
pub(super) fn named<K: FromStr>(
    names: &[&str],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(K, String)> {
    variables
        .into_iter()
        .filter_map(|(name, value)| {
            let name = names.iter().find(|known| name.to_str() == Some(**known))?;
            let value = value.into_string().ok()?;
            Some((name.to_ascii_lowercase().parse().ok()?, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use object_store::{aws::AmazonS3ConfigKey, azure::AzureConfigKey, gcp::GoogleConfigKey};

    use super::*;

    fn taken<K: FromStr + std::fmt::Debug>(names: &[&str], variables: &[&str]) -> Vec<String> {
        let variables = variables.iter().map(|name| (OsString::from(name), OsString::from("x")));
        named::<K>(names, variables)
            .into_iter()
            .map(|(key, value)| {
                assert_eq!(value, "x");
                format!("{key:?}")
            })
            .collect()
    }

    #[test]
    fn the_environment_says_who_we_are_and_never_where_the_bucket_is() {
        let variables = [
            "AWS_ACCESS_KEY_ID",
            "AWS_ROLE_ARN",
            "AWS_ENDPOINT_URL_S3",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT",
            "AWS_BUCKET",
            "AWS_ALLOW_HTTP",
            "AWS_PROXY_URL",
            "AWS_SKIP_SIGNATURE",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_BASE_URL",
            "GOOGLE_BUCKET",
            "AZURE_CLIENT_ID",
            "AZURE_STORAGE_ENDPOINT",
            "AZURE_ENDPOINT",
            "AZURE_STORAGE_ACCOUNT_NAME",
            "AZURE_STORAGE_USE_EMULATOR",
            "AZURE_USE_FABRIC_ENDPOINT",
            "HOME",
        ];
        assert_eq!(taken::<AmazonS3ConfigKey>(S3, &variables), ["AccessKeyId", "RoleArn"]);
        assert_eq!(taken::<GoogleConfigKey>(GCS, &variables), ["ApplicationCredentials"]);
        assert_eq!(taken::<AzureConfigKey>(AZURE, &variables), ["ClientId"]);
    }

    #[test]
    fn each_name_is_known_to_its_store() {
        assert_eq!(taken::<AmazonS3ConfigKey>(S3, S3).len(), S3.len());
        assert_eq!(taken::<GoogleConfigKey>(GCS, GCS).len(), GCS.len());
        assert_eq!(taken::<AzureConfigKey>(AZURE, AZURE).len(), AZURE.len());
    }
}
