! Stand-in of the physics grid: columns are dealt to ranks in turn, and a rank's columns to chunks
! of different sizes.
module phys_grid
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  private
  public :: get_ncols_p, get_gcol_p, get_lat_p, get_lon_p, get_rlat_p, get_rlon_p, &
            get_rlat_all_p, get_rlon_all_p, get_area_all_p, standin_set_grid, standin_n_column

  integer, allocatable :: columns(:)          ! global numbers of this rank's columns
  integer, allocatable :: before(:)           ! columns of the rank before each chunk
  integer, allocatable :: counts(:)
  real(r8), allocatable :: latitudes(:)       ! of all columns

contains

  subroutine standin_set_grid(latitude, n_chunk)
    use ppgrid, only: begchunk, endchunk, pcols
    use spmd_utils, only: iam, npes
    real(r8), intent(in) :: latitude(:)       ! of all columns
    integer, intent(in) :: n_chunk            ! per rank
    integer :: c, i, left

    latitudes = latitude
    columns = pack([(i, i=1, size(latitude))], [(mod(i - 1, npes) == iam, i=1, size(latitude))])
    begchunk = iam * n_chunk + 1
    endchunk = begchunk + n_chunk - 1
    allocate (counts(begchunk:endchunk), before(begchunk:endchunk), source=0)
    left = size(columns)
    ! half of what is left, so that chunks are ragged; the last may be empty
    do c = begchunk, endchunk
      counts(c) = (left + 1) / 2
      if (c == endchunk) counts(c) = left
      before(c) = size(columns) - left
      left = left - counts(c)
    end do
    pcols = maxval(counts) + 3
  end subroutine standin_set_grid

  pure integer function standin_n_column()
    standin_n_column = size(latitudes)
  end function standin_n_column

  integer function get_ncols_p(lcid)
    integer, intent(in) :: lcid

    get_ncols_p = counts(lcid)
  end function get_ncols_p

  integer function get_gcol_p(lcid, col)
    integer, intent(in) :: lcid, col

    get_gcol_p = columns(before(lcid) + col)
  end function get_gcol_p

  ! Where columns do not lie on circles of latitude, as here, the column itself.
  integer function get_lat_p(lcid, col)
    integer, intent(in) :: lcid, col

    get_lat_p = get_gcol_p(lcid, col)
  end function get_lat_p

  integer function get_lon_p(lcid, col)
    integer, intent(in) :: lcid, col

    get_lon_p = get_gcol_p(lcid, col)
  end function get_lon_p

  real(r8) function get_rlat_p(lcid, col)
    integer, intent(in) :: lcid, col

    get_rlat_p = latitudes(get_gcol_p(lcid, col))
  end function get_rlat_p

  real(r8) function get_rlon_p(lcid, col)
    integer, intent(in) :: lcid, col

    get_rlon_p = 0.01_r8 * get_gcol_p(lcid, col)
  end function get_rlon_p

  subroutine get_rlat_all_p(lcid, rlatdim, rlats)
    integer, intent(in) :: lcid, rlatdim
    real(r8), intent(out) :: rlats(rlatdim)
    integer :: i

    rlats = [(get_rlat_p(lcid, i), i=1, rlatdim)]
  end subroutine get_rlat_all_p

  subroutine get_rlon_all_p(lcid, rlondim, rlons)
    integer, intent(in) :: lcid, rlondim
    real(r8), intent(out) :: rlons(rlondim)
    integer :: i

    rlons = [(get_rlon_p(lcid, i), i=1, rlondim)]
  end subroutine get_rlon_all_p

  ! Columns of three sizes.
  subroutine get_area_all_p(lcid, rdim, area)
    integer, intent(in) :: lcid, rdim
    real(r8), intent(out) :: area(rdim)
    integer :: i

    area = [(1.0_r8 + 0.25_r8 * mod(get_gcol_p(lcid, i), 3), i=1, rdim)]
  end subroutine get_area_all_p

end module phys_grid

! The model's sum is the same on any number of ranks; so is this one, which adds in global order.
module phys_gmean
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  private
  public :: gmean

  interface gmean
    module procedure gmean_arr
  end interface gmean

contains

  subroutine gmean_arr(arr, arr_gmean, nflds)
    use mpi_f08, only: MPI_Allreduce, MPI_Comm, MPI_DOUBLE_PRECISION, MPI_IN_PLACE, MPI_SUM
    use phys_grid, only: get_area_all_p, get_gcol_p, get_ncols_p, standin_n_column
    use ppgrid, only: begchunk, endchunk, pcols
    use spmd_utils, only: mpicom
    integer, intent(in) :: nflds
    real(r8), intent(in) :: arr(pcols, begchunk:endchunk, nflds)
    real(r8), intent(out) :: arr_gmean(nflds)
    real(r8) :: whole(standin_n_column(), 0:nflds), areas(pcols)
    integer :: c, i, n

    whole = 0.0_r8
    do c = begchunk, endchunk
      n = get_ncols_p(c)
      call get_area_all_p(c, n, areas(:n))
      do i = 1, n
        whole(get_gcol_p(c, i), 0) = areas(i)
        whole(get_gcol_p(c, i), 1:) = areas(i) * arr(i, c, :)
      end do
    end do
    call MPI_Allreduce(MPI_IN_PLACE, whole, size(whole), MPI_DOUBLE_PRECISION, MPI_SUM, &
                       MPI_Comm(mpicom))
    arr_gmean = sum(whole(:, 1:), dim=1) / sum(whole(:, 0))
  end subroutine gmean_arr

end module phys_gmean
