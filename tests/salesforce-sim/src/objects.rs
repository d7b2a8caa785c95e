//! The objects of the simulated org and their fields (Object Reference: User, UserLogin, Group, PermissionSet, ...).
//!
//! Leaves out everything that provisioning does not read. Lengths are those of a public describe of User.

use crate::field::{
    FieldDef,
    FieldKind::{Address, Boolean, Date, DateTime, Double, Email, Id, Int, Phone, Picklist, Reference, Text, TextArea},
    ObjectDef,
};

/// The preference flags that change events collect into lists: event field, API prefix.
pub(crate) const FLAG_LISTS: [(&str, &str); 3] = [
    ("EmailPreferences", "EmailPreferences"),
    ("UserPermissions", "UserPermissions"),
    ("UserPreferences", "UserPreferences"),
];

/// Custom fields that every simulated org has on User.
pub(crate) fn default_custom_fields() -> Vec<FieldDef> {
    vec![
        FieldDef::custom("Badge__c", Text),
        FieldDef::custom("Termination_Date__c", Date),
        FieldDef::custom("Record_Calls__c", Boolean),
        FieldDef::custom("Level__c", Double),
    ]
}

fn id() -> FieldDef {
    FieldDef::new("Id", Id, 18).required().read_only()
}

fn text(name: &str, length: usize) -> FieldDef {
    FieldDef::new(name, Text, length)
}

fn flag(name: &str) -> FieldDef {
    FieldDef::new(name, Boolean, 0)
}

fn pick(name: &str) -> FieldDef {
    FieldDef::new(name, Picklist, 40)
}

fn link(name: &str, relationship: &str, object: &str) -> FieldDef {
    FieldDef::new(name, Reference, 18).pointing(relationship, object)
}

/// Created, modified and stamped: every record has them, nobody writes them.
fn audit() -> [FieldDef; 5] {
    [
        FieldDef::new("CreatedDate", DateTime, 0).required().read_only(),
        link("CreatedById", "CreatedBy", "User").required().read_only(),
        FieldDef::new("LastModifiedDate", DateTime, 0).required().read_only(),
        link("LastModifiedById", "LastModifiedBy", "User")
            .required()
            .read_only(),
        FieldDef::new("SystemModstamp", DateTime, 0).required().read_only(),
    ]
}

pub(crate) fn user(custom: &[FieldDef]) -> ObjectDef {
    let mut fields = vec![
        id(),
        text("Username", 80).required(),
        text("FirstName", 40),
        text("LastName", 80).required(),
        text("Name", 121).read_only(),
        text("CompanyName", 80),
        text("Division", 80),
        text("Department", 80),
        text("Title", 80),
        FieldDef::new("Street", TextArea, 255),
        text("City", 40),
        text("State", 80),
        text("PostalCode", 20),
        text("Country", 80),
        FieldDef::new("Latitude", Double, 0),
        FieldDef::new("Longitude", Double, 0),
        pick("GeocodeAccuracy"),
        FieldDef::new("Address", Address, 0).read_only(),
        FieldDef::new("Email", Email, 128).required(),
        FieldDef::new("SenderEmail", Email, 80),
        text("SenderName", 80),
        FieldDef::new("Signature", TextArea, 1333),
        FieldDef::new("Phone", Phone, 40),
        FieldDef::new("Fax", Phone, 40),
        FieldDef::new("MobilePhone", Phone, 40),
        FieldDef::new("Extension", Phone, 40),
        text("Alias", 8).required(),
        text("CommunityNickname", 40).required(),
        flag("IsActive"),
        pick("TimeZoneSidKey").required(),
        link("UserRoleId", "UserRole", "UserRole"),
        pick("LocaleSidKey").required(),
        flag("ReceivesInfoEmails"),
        flag("ReceivesAdminInfoEmails"),
        pick("EmailEncodingKey").required(),
        link("ProfileId", "Profile", "Profile").required(),
        pick("UserType").read_only(),
        pick("LanguageLocaleKey").required(),
        text("EmployeeNumber", 20),
        link("DelegatedApproverId", "DelegatedApprover", "User"),
        link("ManagerId", "Manager", "User"),
        FieldDef::new("LastLoginDate", DateTime, 0).read_only(),
        FieldDef::new("LastPasswordChangeDate", DateTime, 0).read_only(),
    ];
    fields.extend(audit());
    fields.extend([
        FieldDef::new("NumberOfFailedLogins", Int, 0).read_only(),
        flag("ForecastEnabled"),
        flag("UserPermissionsMarketingUser"),
        flag("UserPermissionsSFContentUser"),
        flag("UserPreferencesActivityRemindersPopup"),
        flag("UserPreferencesLightningExperiencePreferred"),
        flag("EmailPreferencesAutoBcc"),
        FieldDef::new("ContactId", Reference, 18).create_only(),
        FieldDef::new("AccountId", Reference, 18).read_only(),
        FieldDef::new("CallCenterId", Reference, 18),
        FieldDef::new("IndividualId", Reference, 18),
        text("FederationIdentifier", 512),
        FieldDef::new("AboutMe", TextArea, 1000),
        pick("DigestFrequency"),
        pick("DefaultGroupNotificationFrequency"),
        flag("IsProfilePhotoActive").read_only(),
    ]);
    fields.extend_from_slice(custom);
    let mut def = ObjectDef::new("User", "005", fields);
    def.deletable = false;
    def
}

/// All objects but User.
pub(crate) fn others() -> Vec<ObjectDef> {
    let with_audit = |mut fields: Vec<FieldDef>| {
        fields.extend(audit());
        fields
    };
    let mut login = ObjectDef::new(
        "UserLogin",
        "0Yw",
        vec![
            id(),
            link("UserId", "User", "User").required().read_only(),
            flag("IsFrozen"),
            flag("IsPasswordLocked"),
            FieldDef::new("LastModifiedDate", DateTime, 0).read_only(),
            link("LastModifiedById", "LastModifiedBy", "User").read_only(),
        ],
    );
    login.createable = false;
    login.deletable = false;
    let mut profile = ObjectDef::new(
        "Profile",
        "00e",
        with_audit(vec![
            id(),
            text("Name", 255).required(),
            pick("UserType").read_only(),
            FieldDef::new("UserLicenseId", Reference, 18).read_only(),
        ]),
    );
    profile.createable = false;
    let mut report = ObjectDef::new(
        "Report",
        "00O",
        with_audit(vec![
            id(),
            text("Name", 40),
            text("DeveloperName", 80),
            text("FolderName", 256),
            FieldDef::new("OwnerId", Reference, 18),
            pick("Format"),
            text("Description", 255),
            FieldDef::new("LastRunDate", DateTime, 0),
            text("NamespacePrefix", 15),
        ]),
    );
    let mut folder = ObjectDef::new(
        "Folder",
        "00l",
        with_audit(vec![
            id(),
            text("Name", 80),
            text("DeveloperName", 80),
            pick("Type"),
            pick("AccessType"),
        ]),
    );
    let mut organization = ObjectDef::new(
        "Organization",
        "00D",
        with_audit(vec![
            id(),
            text("Name", 80),
            pick("OrganizationType"),
            text("InstanceName", 5),
            flag("IsSandbox"),
            pick("TimeZoneSidKey"),
            pick("LanguageLocaleKey"),
            text("NamespacePrefix", 15),
        ]),
    );
    for def in [&mut report, &mut folder, &mut organization] {
        def.createable = false;
        def.updateable = false;
        def.deletable = false;
    }
    profile.deletable = false;
    vec![
        login,
        profile,
        report,
        folder,
        organization,
        ObjectDef::new(
            "UserRole",
            "00E",
            with_audit(vec![
                id(),
                text("Name", 80).required(),
                text("DeveloperName", 80),
                link("ParentRoleId", "ParentRole", "UserRole"),
            ]),
        ),
        ObjectDef::new(
            "Group",
            "00G",
            with_audit(vec![
                id(),
                text("Name", 40),
                text("DeveloperName", 80),
                FieldDef::new("RelatedId", Reference, 18).read_only(),
                pick("Type").create_only(),
                FieldDef::new("Email", Email, 255),
                FieldDef::new("OwnerId", Reference, 18),
                flag("DoesSendEmailToMembers"),
            ]),
        ),
        ObjectDef::new(
            "GroupMember",
            "011",
            vec![
                id(),
                link("GroupId", "Group", "Group").required().create_only(),
                FieldDef::new("UserOrGroupId", Reference, 18).required().create_only(),
                FieldDef::new("SystemModstamp", DateTime, 0).read_only(),
            ],
        ),
        ObjectDef::new(
            "PermissionSet",
            "0PS",
            with_audit(vec![
                id(),
                text("Name", 80).required(),
                text("Label", 80).required(),
                text("Description", 255),
                flag("IsOwnedByProfile").read_only(),
                link("ProfileId", "Profile", "Profile").read_only(),
                text("NamespacePrefix", 15).read_only(),
            ]),
        ),
        ObjectDef::new(
            "PermissionSetAssignment",
            "0Pa",
            vec![
                id(),
                link("PermissionSetId", "PermissionSet", "PermissionSet")
                    .required()
                    .create_only(),
                link("AssigneeId", "Assignee", "User").required().create_only(),
                FieldDef::new("PermissionSetGroupId", Reference, 18).create_only(),
                FieldDef::new("ExpirationDate", DateTime, 0),
                flag("IsActive").read_only(),
                FieldDef::new("SystemModstamp", DateTime, 0).read_only(),
            ],
        ),
    ]
}
