//! Where in Salesforce an administrator grants what is missing. One spelling, used by every hint and by
//! `docs/salesforce-setup.md`; a test beside `check` holds the two together.
//!
//! Setup's menu differs from org to org, its search box ("Quick Find") does not: a place names what to type there.

/// System permission: every call.
pub const API_ENABLED: &str = "Setup > Permission Sets > System Permissions > API Enabled";
/// System permission: change events of users, and seeing everybody in queries.
pub const VIEW_ALL_USERS: &str = "Setup > Permission Sets > System Permissions > View All Users";
/// Field-level security of the integration user.
pub const FIELDS: &str = "Setup > Permission Sets > Object Settings > Users > Field Permissions";
/// The fields themselves: API names of custom ones.
pub const USER_FIELDS: &str = "Setup > Object Manager > User > Fields & Relationships";
/// System permission: running reports.
pub const RUN_REPORTS: &str = "Setup > Permission Sets > System Permissions > Run Reports";
/// Sharing of a report folder.
pub const REPORT_FOLDER: &str = "Reports > All Folders > Share";
/// System permission: `/limits`, and who has which permission set.
pub const VIEW_SETUP: &str = "Setup > Permission Sets > System Permissions > View Setup and Configuration";
/// System permission: frozen state.
pub const MANAGE_USERS: &str = "Setup > Permission Sets > System Permissions > Manage Users";
/// Selected entities of the standard channel.
pub const CHANGE_DATA_CAPTURE: &str = "Setup > Change Data Capture";
/// Who may use the app.
pub const APP_POLICIES: &str = "Setup > External Client App Manager > Policies > OAuth Policies";
/// Flows, certificate, consumer key and secret of the app.
pub const APP_SETTINGS: &str = "Setup > External Client App Manager > Settings > OAuth Settings";
/// The integration user: active, frozen, Username.
pub const USERS: &str = "Setup > Users";
/// Why Salesforce refused a log-in.
pub const LOGIN_HISTORY: &str = "Setup > Login History";
/// The org's own address.
pub const MY_DOMAIN: &str = "Setup > My Domain";
/// Organization id, edition, and API requests of the last 24 hours.
pub const COMPANY_INFORMATION: &str = "Setup > Company Information";
/// Delivered events of the last 24 hours.
pub const EVENT_USAGE: &str = "Setup > Event Manager";

/// All of them.
pub const ALL: &[&str] = &[
    API_ENABLED,
    VIEW_ALL_USERS,
    FIELDS,
    USER_FIELDS,
    RUN_REPORTS,
    REPORT_FOLDER,
    VIEW_SETUP,
    MANAGE_USERS,
    CHANGE_DATA_CAPTURE,
    APP_POLICIES,
    APP_SETTINGS,
    USERS,
    LOGIN_HISTORY,
    MY_DOMAIN,
    COMPANY_INFORMATION,
    EVENT_USAGE,
];
