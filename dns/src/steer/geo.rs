//! Places by what a database knows of a network: its region, country, continent, or where on Earth it is.

/// A point on Earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// North of the equator.
    pub latitude: f64,
    /// East of Greenwich.
    pub longitude: f64,
}

impl Eq for Point {}

impl Point {
    /// The point, if there is one.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_one = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        is_one.then_some(Self { latitude, longitude })
    }

    /// Kilometres along a great circle.
    pub fn distance(self, other: Self) -> f64 {
        const RADIUS_KM: f64 = 6371.0;
        let [a, b] = [self, other].map(|point| (point.latitude.to_radians(), point.longitude.to_radians()));
        let half = |from: f64, to: f64| ((to - from) / 2.0).sin().powi(2);
        let chord = half(a.0, b.0) + a.0.cos() * b.0.cos() * half(a.1, b.1);
        2.0 * RADIUS_KM * chord.sqrt().min(1.0).asin()
    }
}

/// The clients of a place, as the config says: codes as in ISO 3166 (`DE`, `US-CA`), continents as `EU`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of continents.
    pub continents: Vec<String>,
    /// Of countries.
    pub countries: Vec<String>,
    /// Of parts of countries.
    pub regions: Vec<String>,
    /// Where the place is: clients that no code names are of the nearest place.
    pub at: Option<Point>,
}

/// The knowledge of a database about a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The continent's code.
    pub continent: Option<String>,
    /// The country's code.
    pub country: Option<String>,
    /// Codes of the country's parts, the largest first, without the country.
    pub regions: Vec<String>,
    /// Where it is.
    pub at: Option<Point>,
}

/// The place of a network: by region, then country, then continent, then by the nearest point; the first of equals.
pub fn place_of(places: &[Wanted], found: &Found) -> Option<u16> {
    let by =
        |has: &dyn Fn(&Wanted) -> bool| (0_u16..).zip(places).find(|(_, place)| has(place)).map(|(at, _)| at);
    let country = found.country.as_deref();
    let is_region = |code: &String| {
        let parts = code.split_once('-').filter(|(of, _)| Some(*of) == country);
        parts.is_some_and(|(_, part)| found.regions.iter().any(|region| region == part))
    };
    let has = |codes: &[String], code: Option<&str>| codes.iter().any(|it| Some(it.as_str()) == code);
    by(&|place| place.regions.iter().any(is_region))
        .or_else(|| by(&|place| has(&place.countries, country)))
        .or_else(|| by(&|place| has(&place.continents, found.continent.as_deref())))
        .or_else(|| nearest(places, found.at?))
}

fn nearest(places: &[Wanted], at: Point) -> Option<u16> {
    let distances =
        (0_u16..).zip(places).filter_map(|(place, wanted)| Some((wanted.at?.distance(at), place)));
    distances.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place)
}

/// The other places that have a point, the nearest to this one first; none if it has no point itself.
pub fn by_distance(places: &[Wanted], of: usize) -> Vec<u16> {
    let Some(here) = places.get(of).and_then(|place| place.at) else { return Vec::new() };
    let others = (0_u16..).zip(places).filter(|(at, _)| usize::from(*at) != of);
    let mut others: Vec<(f64, u16)> =
        others.filter_map(|(at, place)| Some((place.at?.distance(here), at))).collect();
    others.sort_by(|a, b| a.0.total_cmp(&b.0));
    others.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(latitude: f64, longitude: f64) -> Point {
        Point::new(latitude, longitude).unwrap()
    }

    #[test]
    fn points_are_as_far_from_each_other_as_on_a_map() {
        let (frankfurt, new_york, sydney) = (point(50.11, 8.68), point(40.71, -74.01), point(-33.87, 151.21));
        for (from, to, kilometres) in
            [(frankfurt, frankfurt, 0.0), (frankfurt, new_york, 6205.0), (new_york, sydney, 15_990.0)]
        {
            let found = from.distance(to);
            assert!((found - kilometres).abs() < 30.0, "{from:?} {to:?}: {found}");
        }
        // Across the date line it is near.
        assert!(point(0.0, 179.0).distance(point(0.0, -179.0)) < 230.0);
        assert_eq!((Point::new(91.0, 0.0), Point::new(0.0, f64::NAN)), (None, None));
    }

    #[test]
    fn a_region_goes_before_a_country_a_country_before_a_continent_and_a_point_is_last() {
        let codes = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>();
        let places = [
            Wanted { continents: codes(&["NA"]), at: Some(point(40.0, -75.0)), ..Wanted::default() },
            Wanted { countries: codes(&["US"]), ..Wanted::default() },
            Wanted { regions: codes(&["US-CA"]), at: Some(point(37.0, -122.0)), ..Wanted::default() },
            Wanted { at: Some(point(50.0, 8.0)), ..Wanted::default() },
        ];
        let found = |continent: &str, country: &str, regions: &[&str], at: Option<Point>| Found {
            continent: Some(continent.to_owned()),
            country: Some(country.to_owned()),
            regions: codes(regions),
            at,
        };
        for (network, expected) in [
            (found("NA", "US", &["CA"], None), Some(2)),
            (found("NA", "US", &["NY"], None), Some(1)),
            (found("NA", "CA", &["QC"], None), Some(0)),
            // A part of the same code of another country.
            (found("EU", "ES", &["CA"], None), None),
            (found("EU", "ES", &["CA"], Some(point(36.5, -6.3))), Some(3)),
            (found("AS", "JP", &[], Some(point(35.7, 139.7))), Some(2)),
            (Found::default(), None),
        ] {
            assert_eq!(place_of(&places, &network), expected, "{network:?}");
        }
        assert_eq!(by_distance(&places, 0), [2, 3]);
        assert_eq!(by_distance(&places, 1), [0_u16; 0]);
    }
}
