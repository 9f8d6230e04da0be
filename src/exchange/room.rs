//! How much room there is for a request, and the bound that leaves none.

/// How many requests there may be at once, of which there are as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlightLimit {
    /// In the gateway.
    Gateway,
    /// In the gateway, of which some are kept from playbacks that begin.
    Starts,
    /// In the gateway, of which some are kept from all but streams that play.
    Others,
    /// At the upstream of the request.
    Upstream,
    /// At each endpoint of that upstream.
    Endpoints,
}

impl InFlightLimit {
    /// As metrics and logs name it.
    pub const fn name(self) -> &'static str {
        match self {
            InFlightLimit::Gateway => "in_flight",
            InFlightLimit::Starts => "in_flight_starts",
            InFlightLimit::Others => "in_flight_others",
            InFlightLimit::Upstream => "upstream_in_flight",
            InFlightLimit::Endpoints => "endpoints_in_flight",
        }
    }
}

/// How much room there is for one more request. It gets narrow for those first who lose least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// For whatever it is.
    #[default]
    Plenty,
    /// For all but the beginning of a playback.
    NoStarts,
    /// For streams that play.
    HoldersOnly,
    /// For nothing.
    None,
}
