//! Which addresses a name may lead to, checked when it is resolved, right before the connection.
//!
//! A name of the configuration that suddenly leads into the own network (a mistake, a takeover of the name, DNS rebinding) must not
//! carry credentials and people there. So private, link-local, shared and reserved addresses are refused unless they are
//! listed, and those of cloud metadata services unless they are listed one by one. An address of this machine is allowed
//! only when the configuration names it literally: `localhost`, `127.0.0.1`, `[::1]`.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A range of addresses, as `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    base: IpAddr,
    length: u8,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (base, length) = match text.trim().split_once('/') {
            Some((base, length)) => (base.parse().ok()?, length.parse().ok()?),
            None => {
                let base: IpAddr = text.trim().parse().ok()?;
                (base, if base.is_ipv4() { 32 } else { 128 })
            }
        };
        let most = if base.is_ipv4() { 32 } else { 128 };
        (length <= most).then_some(Self { base, length })
    }

    const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Self {
        Self {
            base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            length,
        }
    }

    const fn v6(a: u16, b: u16, length: u8) -> Self {
        Self {
            base: IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0)),
            length,
        }
    }

    fn holds(&self, address: IpAddr) -> bool {
        let same = |left: u128, right: u128, bits: u8| {
            let rest = u32::from(bits) - u32::from(self.length);
            left.checked_shr(rest).unwrap_or(0) == right.checked_shr(rest).unwrap_or(0)
        };
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => same(base.to_bits().into(), address.to_bits().into(), 32),
            (IpAddr::V6(base), IpAddr::V6(address)) => same(base.to_bits(), address.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn is_single(&self) -> bool {
        self.length == if self.base.is_ipv4() { 32 } else { 128 }
    }
}

/// Addresses under which machines, containers and pods of clouds find their credentials (documentation of AWS, GCP, Azure,
/// Alibaba, Oracle, Scaleway, Linode; of AWS also Amazon ECS task roles, 169.254.170.2, and EKS Pod Identity, 169.254.170.23 and
/// fd00:ec2::23).
const METADATA: [IpAddr; 13] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200)),
];

/// What is not the public internet (IANA special-purpose registries), in words.
const SPECIAL: [(Range, &str); 15] = [
    (Range::v4(127, 0, 0, 0, 8), "this machine"),
    (Range::v4(10, 0, 0, 0, 8), "a private network"),
    (Range::v4(172, 16, 0, 0, 12), "a private network"),
    (Range::v4(192, 168, 0, 0, 16), "a private network"),
    (Range::v4(100, 64, 0, 0, 10), "a shared network"),
    (Range::v4(169, 254, 0, 0, 16), "a link-local network"),
    (Range::v4(192, 0, 0, 0, 24), "a reserved range"),
    (Range::v4(198, 18, 0, 0, 15), "a reserved range"),
    (Range::v4(0, 0, 0, 0, 8), "this machine"),
    (Range::v4(224, 0, 0, 0, 3), "multicast or reserved"),
    (Range::v6(0xfc00, 0, 7), "a private network"),
    (Range::v6(0xfe80, 0, 10), "a link-local network"),
    (Range::v6(0xfec0, 0, 10), "a private network"),
    (Range::v6(0xff00, 0, 8), "multicast or reserved"),
    (Range::v6(0x2001, 0, 32), "a tunnel"),
];

/// The IPv4 address inside of an IPv6 one: mapped, compatible, translated (RFC 2765), NAT64 (also the local prefix of RFC 8215), 6to4.
/// Whoever translates sends to that one.
fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let parts = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

/// What may be connected to.
#[derive(Debug, Clone, Default)]
pub struct Allowed(Vec<Range>);

impl Allowed {
    /// Reads the ranges of the configuration.
    ///
    /// # Errors
    /// The first that is none.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let range = |text: &String| {
            Range::parse(text).ok_or_else(|| {
                format!("allowAddresses `{text}`: an address such as 10.1.2.3 or a range such as 10.0.0.0/8")
            })
        };
        texts.iter().map(range).collect::<Result<_, _>>().map(Self)
    }

    /// Why a host that is written as an address is refused, in words; `None` when it is not, and for names, which are checked when
    /// they are resolved.
    #[must_use]
    pub fn literal_refusal(&self, host: &str) -> Option<&'static str> {
        let address = literal(host)?;
        self.refusal(address, address.is_loopback())
    }

    /// Why an address is refused, in words; `None` when it is not. `literal`: the configuration itself names this machine.
    #[must_use]
    pub fn refusal(&self, address: IpAddr, literal: bool) -> Option<&'static str> {
        let meant = inner(address);
        let listed = |range: &&Range| range.holds(address) || range.holds(meant);
        if METADATA.contains(&meant) {
            let single = self
                .0
                .iter()
                .filter(|range| range.is_single())
                .any(|range| listed(&range));
            return (!single).then_some("a metadata service");
        }
        if self.0.iter().any(|range| listed(&range)) {
            return None;
        }
        let own = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
        if own(meant) {
            return (!literal || meant.is_unspecified()).then_some("this machine");
        }
        SPECIAL
            .iter()
            .find(|(range, _)| range.holds(meant))
            .map(|(_, words)| *words)
    }
}

/// A host that is written as an address, also in the brackets of a URL.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether a host of the configuration names this machine itself.
#[must_use]
pub fn is_own_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// A name that leads only to addresses that are not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRefused {
    /// The name.
    pub host: String,
    /// One of the addresses that it leads to.
    pub address: IpAddr,
    /// What that is, in words.
    pub why: &'static str,
}

impl fmt::Display for AddressRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address, why } = self;
        write!(f, "{host} leads to {address}, which is {why}")
    }
}

impl Error for AddressRefused {}

impl AddressRefused {
    /// Finds it in the chain of an error of a connection, whichever library has wrapped it.
    #[must_use]
    pub fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }
}

/// The first error of this type in a chain, also inside of I/O errors, which do not name what they carry as their source.
#[must_use]
pub fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inside = io.and_then(|inner| inner.downcast_ref::<T>());
        if let Some(found) = error.downcast_ref::<T>().or(inside) {
            return Some(found);
        }
        next = match io {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// What a lookup finds.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// Asks the system, or in a test a table.
pub type Lookup = Arc<dyn Fn(String) -> Found + Send + Sync>;

/// Asks the system.
#[must_use]
pub fn system() -> Lookup {
    Arc::new(|host| Box::pin(async move { tokio::net::lookup_host((host, 0)).await.map(Iterator::collect) }))
}

/// Resolves names and lets through what may be connected to.
#[derive(Clone)]
pub struct Resolver {
    /// What may be connected to.
    pub allowed: Allowed,
    /// Who is asked.
    pub lookup: Lookup,
}

impl Resolver {
    /// Asks the system.
    #[must_use]
    pub fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            lookup: system(),
        }
    }

    /// The addresses of a host that may be connected to; of a mixed answer those.
    ///
    /// # Errors
    /// [`AddressRefused`] when none of them may, and what the lookup says.
    pub async fn addresses(&self, host: String) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
        let own = is_own_name(&host) || literal(&host).is_some_and(|address| address.is_loopback());
        let (mut good, mut refused) = (Vec::new(), None);
        for address in (self.lookup)(host.clone()).await? {
            match self.allowed.refusal(address.ip(), own) {
                None => good.push(address),
                Some(why) => refused = Some((address.ip(), why)),
            }
        }
        match refused {
            Some((address, why)) if good.is_empty() => Err(Box::new(AddressRefused { host, address, why })),
            _ => Ok(good),
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, host) = (self.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let good = resolver.addresses(host).await?;
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(allowed: &[&str], address: &str) -> Option<&'static str> {
        let texts: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        Allowed::parse(&texts).unwrap().refusal(address.parse().unwrap(), false)
    }

    #[test]
    fn what_is_not_the_public_internet_is_refused() {
        for (address, why) in [
            ("10.1.2.3", Some("a private network")),
            ("172.16.0.1", Some("a private network")),
            ("172.31.255.255", Some("a private network")),
            ("172.32.0.1", None),
            ("192.168.1.1", Some("a private network")),
            ("100.64.0.1", Some("a shared network")),
            ("169.254.0.1", Some("a link-local network")),
            ("127.0.0.1", Some("this machine")),
            ("127.8.8.8", Some("this machine")),
            ("0.0.0.0", Some("this machine")),
            ("0.1.2.3", Some("this machine")),
            ("::1", Some("this machine")),
            ("::", Some("this machine")),
            ("224.0.0.1", Some("multicast or reserved")),
            ("255.255.255.255", Some("multicast or reserved")),
            ("fc00::1", Some("a private network")),
            ("fdab::1", Some("a private network")),
            ("fe80::1", Some("a link-local network")),
            ("ff02::1", Some("multicast or reserved")),
            ("169.254.169.254", Some("a metadata service")),
            ("168.63.129.16", Some("a metadata service")),
            ("100.100.100.200", Some("a metadata service")),
            ("fd00:ec2::254", Some("a metadata service")),
            ("169.254.170.2", Some("a metadata service")),
            ("169.254.170.23", Some("a metadata service")),
            ("fd00:ec2::23", Some("a metadata service")),
            ("fd20:ce::254", Some("a metadata service")),
            ("fd00:c1::a9fe:a9fe", Some("a metadata service")),
            ("fd00:42::42", Some("a metadata service")),
            ("fd00:a9fe:a9fe::1", Some("a metadata service")),
            ("fd00:100::100:200", Some("a metadata service")),
            ("198.19.255.255", Some("a reserved range")),
            ("198.20.0.1", None),
            // The same in other clothes.
            ("::ffff:10.0.0.1", Some("a private network")),
            ("::ffff:169.254.169.254", Some("a metadata service")),
            ("64:ff9b::a9fe:a9fe", Some("a metadata service")),
            ("64:ff9b:1::a00:1", Some("a private network")),
            ("::ffff:0:10.0.0.1", Some("a private network")),
            ("2002:0a00:0001::1", Some("a private network")),
            ("::127.0.0.1", Some("this machine")),
            ("8.8.8.8", None),
            ("2606:4700::1111", None),
            ("11.0.0.1", None),
        ] {
            assert_eq!(refusal(&[], address), why, "{address}");
        }
    }

    #[test]
    fn what_is_listed_is_allowed_and_metadata_only_by_its_own_address() {
        assert_eq!(refusal(&["10.0.0.0/8"], "10.255.0.1"), None);
        assert_eq!(refusal(&["10.0.0.0/8"], "::ffff:10.0.0.1"), None);
        assert_eq!(refusal(&["10.1.2.3"], "10.1.2.4"), Some("a private network"));
        assert_eq!(refusal(&["127.0.0.0/8"], "127.0.0.1"), None);
        assert_eq!(refusal(&["fd00::/8"], "fd12::1"), None);
        assert_eq!(refusal(&["0.0.0.0/0"], "192.168.0.1"), None);
        assert_eq!(refusal(&["0.0.0.0/0"], "fd12::1"), Some("a private network"));
        for range in ["169.254.0.0/16", "0.0.0.0/0"] {
            for address in ["169.254.169.254", "169.254.170.2", "169.254.170.23"] {
                assert_eq!(
                    refusal(&[range], address),
                    Some("a metadata service"),
                    "{range} {address}"
                );
            }
        }
        for address in ["fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe"] {
            assert_eq!(refusal(&["fc00::/7"], address), Some("a metadata service"), "{address}");
        }
        assert_eq!(refusal(&["169.254.169.254"], "169.254.169.254"), None);
        for wrong in ["10.0.0.0/33", "ten", "10.0.0/8", "", "fd00::/129", "-1/8"] {
            assert!(Allowed::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn this_machine_is_reached_only_by_its_own_name() {
        let none = Allowed::default();
        assert_eq!(none.refusal("127.0.0.1".parse().unwrap(), true), None);
        assert_eq!(none.refusal("::1".parse().unwrap(), true), None);
        assert!(none.refusal("10.0.0.1".parse().unwrap(), true).is_some());
        assert!(none.refusal("0.0.0.0".parse().unwrap(), true).is_some());
        assert!(is_own_name("LOCALHOST.") && is_own_name("a.localhost") && !is_own_name("localhost.example"));
    }

    #[test]
    fn a_host_that_is_an_address_is_held_to_the_same_rules() {
        let none = Allowed::default();
        assert_eq!(none.literal_refusal("10.0.0.1"), Some("a private network"));
        assert_eq!(none.literal_refusal("[fd12::1]"), Some("a private network"));
        assert_eq!(none.literal_refusal("127.0.0.1"), None);
        assert_eq!(none.literal_refusal("[::1]"), None);
        assert_eq!(none.literal_refusal("0.0.0.0"), Some("this machine"));
        assert_eq!(none.literal_refusal("acme.my.salesforce.com"), None);
    }

    fn resolver(addresses: &[&str]) -> Resolver {
        let found: Vec<SocketAddr> = addresses
            .iter()
            .map(|ip| (ip.parse::<IpAddr>().unwrap(), 0).into())
            .collect();
        Resolver {
            allowed: Allowed::default(),
            lookup: Arc::new(move |_| {
                let found = found.clone();
                Box::pin(async move { Ok(found) })
            }),
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_and_a_mixed_answer_is_cut() {
        let name = || "target.example".parse::<Name>().unwrap();
        let error = resolver(&["10.0.0.1"]).resolve(name()).await.err().unwrap();
        let error = error.downcast::<AddressRefused>().unwrap();
        assert_eq!(
            error.to_string(),
            "target.example leads to 10.0.0.1, which is a private network"
        );
        let mixed = resolver(&["10.0.0.1", "8.8.8.8"]).resolve(name()).await.unwrap();
        assert_eq!(
            mixed.map(|address| address.ip().to_string()).collect::<Vec<_>>(),
            ["8.8.8.8"]
        );
        let own = resolver(&["127.0.0.1"]);
        assert!(own.resolve(name()).await.is_err());
        assert!(own.resolve("localhost".parse().unwrap()).await.is_ok());
        assert!(own.addresses("127.0.0.1".to_owned()).await.is_ok());
        let refused = own.addresses("10.0.0.1".to_owned()).await.unwrap_err();
        assert!(AddressRefused::within(&*refused).is_some());
        let wrapped = io::Error::other(refused);
        assert_eq!(AddressRefused::within(&wrapped).unwrap().why, "this machine");
    }
}
